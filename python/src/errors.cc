#include "python/src/errors.h"

#include <string>

namespace countermark::python {
namespace {

const char* ClassOf(countermark_status status) {
  switch (status) {
    case COUNTERMARK_INVALID_ARGUMENT: return "InvalidArgumentError";
    case COUNTERMARK_NOT_FOUND: return "NotFoundError";
    case COUNTERMARK_DENIED: return "DeniedError";
    case COUNTERMARK_CORRUPT: return "CorruptError";
    case COUNTERMARK_WRONG_EPOCH: return "WrongEpochError";
    case COUNTERMARK_SELF_TEST_FAILED: return "SelfTestError";
    case COUNTERMARK_UNKNOWN_ACCOUNT: return "UnknownAccountError";
    case COUNTERMARK_POLICY: return "PolicyError";
    case COUNTERMARK_DEVICE: return "DeviceError";
    case COUNTERMARK_OUT_OF_MEMORY: return "OutOfMemoryError";
    default: return "InternalError";
  }
}

const char* ClassOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kUnimplemented: return "InvalidArgumentError";
    case absl::StatusCode::kNotFound: return "NotFoundError";
    case absl::StatusCode::kAlreadyExists: return "AlreadyExistsError";
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kFailedPrecondition: return "DeniedError";
    case absl::StatusCode::kDataLoss: return "CorruptError";
    case absl::StatusCode::kAborted: return "ConflictError";
    case absl::StatusCode::kResourceExhausted: return "OutOfMemoryError";
    default: return "InternalError";
  }
}

}  // namespace

nb::object TextOf(std::string_view text) {
  return nb::steal(PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
}

void Raise(const char* name, std::string_view message) {
  const nb::object type = nb::module_::import_("countermark.errors").attr(name);
  PyErr_SetObject(type.ptr(), TextOf(message).ptr());
  throw nb::python_error();
}

void RaiseStatus(const absl::Status& status) { Raise(ClassOf(status.code()), std::string(status.message())); }
void RaiseStatus(countermark_status status, std::string_view message) { Raise(ClassOf(status), message); }

}  // namespace countermark::python
