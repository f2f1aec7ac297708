// From statuses to Python's exceptions: countermark.errors, the C++ message as it stands.
//
//   KeyStore store = ValueOrRaise(KeyStore::Open(path, passphrase));
//   RaiseIfError(store.Save());
//
// All of these need the GIL.
#ifndef COUNTERMARK_PYTHON_SRC_ERRORS_H_
#define COUNTERMARK_PYTHON_SRC_ERRORS_H_

#include <nanobind/nanobind.h>

#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "countermark/countermark.h"

namespace countermark::python {

namespace nb = nanobind;

// Bytes that are not UTF-8 (a path's) become U+FFFD.
nb::object TextOf(std::string_view text);

// `name` is a class of countermark.errors.
[[noreturn]] void Raise(const char* name, std::string_view message);
[[noreturn]] void RaiseStatus(const absl::Status& status);
[[noreturn]] void RaiseStatus(countermark_status status, std::string_view message);

inline void RaiseIfError(const absl::Status& status) {
  if (!status.ok()) RaiseStatus(status);
}

template <typename T>
T ValueOrRaise(absl::StatusOr<T> value) {
  if (!value.ok()) RaiseStatus(value.status());
  return *std::move(value);
}

// What holds secrets is neither pickled nor copied: a pickle is a file that nobody guards.
template <typename Class>
void RefusePickle(Class& type, const char* message) {
  type.def(
      "__reduce_ex__", [message](nb::handle, nb::handle) -> nb::object { throw nb::type_error(message); },
      nb::sig("def __reduce_ex__(self, protocol: typing.SupportsIndex, /) -> typing.NoReturn"), nb::arg("protocol"));
}

}  // namespace countermark::python

#endif  // COUNTERMARK_PYTHON_SRC_ERRORS_H_
