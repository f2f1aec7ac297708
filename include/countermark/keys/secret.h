// Secret bytes: types that cannot be printed, copied to a string, or compared in variable time, and that are wiped when they go.
//
//   Secret32 key = Secret32::Random();
//   const uint8_t* p = key.Reveal(SecretAccess());   // every access names SecretAccess, so that `grep` finds them all
#ifndef COUNTERMARK_KEYS_SECRET_H_
#define COUNTERMARK_KEYS_SECRET_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace countermark {

// A token that every read of secret bytes must name.
class SecretAccess {
 public:
  explicit SecretAccess() = default;
};

// 32 secret bytes: a master, epoch, mark, route, account or request key.
class Secret32 {
 public:
  static constexpr size_t kSize = 32;
  Secret32() = delete;
  // Copies the bytes; the caller wipes its own.
  explicit Secret32(std::span<const uint8_t, kSize> bytes);
  Secret32(const Secret32& other);
  Secret32& operator=(const Secret32& other);
  ~Secret32();

  // From the operating system's generator through OpenSSL; ends the process if that has none to give.
  static Secret32 Random();

  const uint8_t* Reveal(SecretAccess) const { return bytes_.data(); }
  // In time that does not depend on the bytes.
  static bool ConstantTimeEqual(const Secret32& a, const Secret32& b);

  friend bool operator==(const Secret32&, const Secret32&) = delete;
  template <typename Stream>
  friend Stream& operator<<(Stream&, const Secret32&) = delete;

 private:
  std::array<uint8_t, kSize> bytes_;
};

// A secret of any length: a passphrase, a decrypted body, a private key. Move-only; never reallocates while it holds a secret.
class SecretBytes {
 public:
  SecretBytes() = default;
  explicit SecretBytes(size_t size);
  explicit SecretBytes(std::string_view bytes);
  SecretBytes(SecretBytes&&) noexcept;
  SecretBytes& operator=(SecretBytes&&) noexcept;
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;
  ~SecretBytes();

  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  std::span<const uint8_t> Reveal(SecretAccess) const { return bytes_; }
  std::span<uint8_t> Mutable(SecretAccess) { return bytes_; }
  void Wipe();

  friend bool operator==(const SecretBytes&, const SecretBytes&) = delete;
  template <typename Stream>
  friend Stream& operator<<(Stream&, const SecretBytes&) = delete;

 private:
  std::vector<uint8_t> bytes_;
};

}  // namespace countermark

#endif  // COUNTERMARK_KEYS_SECRET_H_
