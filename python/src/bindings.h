// What each file of the module adds to it, and the classes that one file takes from another.
#ifndef COUNTERMARK_PYTHON_SRC_BINDINGS_H_
#define COUNTERMARK_PYTHON_SRC_BINDINGS_H_

#include <nanobind/nanobind.h>

namespace countermark::python {

void BindEpoch(nanobind::module_& module);      // EpochRecord, EpochKeys
void BindKeyStore(nanobind::module_& module);   // KeyStore
void BindHook(nanobind::module_& module);       // Keys, Hook
void BindTokenizer(nanobind::module_& module);  // Tokenizer
void BindDetectRun(nanobind::module_& module);  // Column, Run
void BindAudit(nanobind::module_& module);      // audit_dataset, audit_program
void BindCluster(nanobind::module_& module);    // AuditKeys, ClusterMap, ClusterReduce, ClusterGather, ClusterRun
void BindReport(nanobind::module_& module);     // sign_report
void BindVerify(nanobind::module_& module);     // verify_report

}  // namespace countermark::python

#endif  // COUNTERMARK_PYTHON_SRC_BINDINGS_H_
