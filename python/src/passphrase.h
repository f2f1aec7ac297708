// Where Python gives a passphrase from: a private file, a descriptor, or a function. Never a string in a call, which a traceback or a log would show.
#ifndef COUNTERMARK_PYTHON_SRC_PASSPHRASE_H_
#define COUNTERMARK_PYTHON_SRC_PASSPHRASE_H_

#include <nanobind/nanobind.h>

#include <filesystem>
#include <optional>

#include "countermark/keys/secret.h"

namespace countermark::python {

namespace nb = nanobind;

// Exactly one of the three. The function takes nothing and gives str, bytes or a bytearray; a bytearray is wiped. A final newline is dropped. Errors
// are raised and never hold the passphrase.
SecretBytes PassphraseOf(const std::optional<std::filesystem::path>& file, std::optional<int> descriptor, const nb::object& function);

// The part of a signature that says so.
#define COUNTERMARK_PASSPHRASE_SIGNATURE                                                                   \
  "passphrase_file: str | os.PathLike[str] | None = None, passphrase_fd: int | None = None, " \
  "passphrase_callback: collections.abc.Callable[[], str | bytes | bytearray] | None = None"

}  // namespace countermark::python

#endif  // COUNTERMARK_PYTHON_SRC_PASSPHRASE_H_
