#include "python/src/passphrase.h"

#include <openssl/crypto.h>

#include <string>

#include "countermark/keys/key_store.h"
#include "python/src/errors.h"

namespace countermark::python {
namespace {

constexpr size_t kMostBytes = 4096;  // as from a file

SecretBytes Take(const char* data, size_t size) {
  if (size > 0 && data[size - 1] == '\n') --size;
  if (size == 0) Raise("InvalidArgumentError", "the passphrase is empty");
  if (size > kMostBytes) Raise("InvalidArgumentError", "the passphrase is longer than 4096 bytes");
  return SecretBytes(std::string_view(data, size));
}

SecretBytes Ask(const nb::object& function) {
  const nb::object given = function();
  if (PyByteArray_Check(given.ptr())) {
    char* data = PyByteArray_AS_STRING(given.ptr());
    const size_t size = static_cast<size_t>(PyByteArray_GET_SIZE(given.ptr()));
    SecretBytes secret = Take(data, size);
    OPENSSL_cleanse(data, size);
    return secret;
  }
  if (PyBytes_Check(given.ptr())) return Take(PyBytes_AS_STRING(given.ptr()), static_cast<size_t>(PyBytes_GET_SIZE(given.ptr())));
  if (PyUnicode_Check(given.ptr())) {
    Py_ssize_t size = 0;
    const char* data = PyUnicode_AsUTF8AndSize(given.ptr(), &size);
    if (data == nullptr) {
      PyErr_Clear();  // Python's own error repeats the text
      Raise("InvalidArgumentError", "the passphrase is not text that UTF-8 can hold");
    }
    return Take(data, static_cast<size_t>(size));
  }
  throw nb::type_error("passphrase_callback must give str, bytes or a bytearray");
}

}  // namespace

SecretBytes PassphraseOf(const std::optional<std::filesystem::path>& file, std::optional<int> descriptor, const nb::object& function) {
  const bool asked = function.is_valid() && !function.is_none();
  if (int(file.has_value()) + int(descriptor.has_value()) + int(asked) != 1) {
    Raise("InvalidArgumentError", "give one of passphrase_file, passphrase_fd and passphrase_callback");
  }
  if (asked) return Ask(function);
  PassphraseSource source;
  if (file) {
    source.file = file->string();
    if (source.file.empty()) Raise("InvalidArgumentError", "passphrase_file is empty");
  } else {
    source.descriptor = *descriptor;
    if (source.descriptor < 0) Raise("InvalidArgumentError", "passphrase_fd is negative");
  }
  return ValueOrRaise(ReadPassphrase(source, ""));
}

}  // namespace countermark::python
