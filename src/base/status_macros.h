// Early return on an absl::Status that is not OK.
#ifndef COUNTERMARK_SRC_BASE_STATUS_MACROS_H_
#define COUNTERMARK_SRC_BASE_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define CM_CONCAT_INNER_(a, b) a##b
#define CM_CONCAT_(a, b) CM_CONCAT_INNER_(a, b)

#define CM_RETURN_IF_ERROR(expr)                          \
  do {                                                    \
    absl::Status cm_status_ = (expr);                     \
    if (!cm_status_.ok()) return cm_status_;              \
  } while (false)

#define CM_ASSIGN_OR_RETURN(lhs, expr) CM_ASSIGN_OR_RETURN_IMPL_(CM_CONCAT_(cm_or_, __LINE__), lhs, expr)
#define CM_ASSIGN_OR_RETURN_IMPL_(tmp, lhs, expr) \
  auto tmp = (expr);                              \
  if (!tmp.ok()) return tmp.status();             \
  lhs = *std::move(tmp)

#endif  // COUNTERMARK_SRC_BASE_STATUS_MACROS_H_
