// countermark._core: the library for Python. The package's own modules give it its types and defaults; nothing else imports it.
#include <nanobind/nanobind.h>

#include "countermark/countermark.h"
#include "python/src/bindings.h"

NB_MODULE(_core, m) {
  using namespace countermark::python;
  m.doc() = "The C++ library of countermark. Use the package's own modules.";
  m.def("version", [] { return countermark_version(); }, "The library's version.");
  m.def("has_cuda", [] { return countermark_has_cuda() != 0; }, "Whether this build can use a CUDA device.");
  BindEpoch(m);
  BindKeyStore(m);
  BindHook(m);
  BindTokenizer(m);
  BindDetectRun(m);
  BindAudit(m);
  BindCluster(m);
  BindReport(m);
  BindVerify(m);
}
