// Little-endian numbers and variable-length integers in and out of byte strings. A Reader never reads past its end: what is not there makes it
// fail for good, and whoever reads asks ok() once, at the end.
//
//   std::string out;  PutU32(7, &out);  PutVarint(300, &out);  PutBytes("id", &out);
//   Reader in(out);   in.U32();  in.Varint();  in.Bytes();  if (!in.ok() || !in.empty()) …
#ifndef COUNTERMARK_SRC_AUDIT_BYTES_H_
#define COUNTERMARK_SRC_AUDIT_BYTES_H_

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace countermark::audit {

static_assert(std::endian::native == std::endian::little, "the run directory's numbers are little-endian");

template <typename T>
inline void PutRaw(T value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}
inline void PutU32(uint32_t value, std::string* out) { PutRaw(value, out); }
inline void PutU64(uint64_t value, std::string* out) { PutRaw(value, out); }
inline void PutDouble(double value, std::string* out) { PutRaw(value, out); }

// Seven bits a byte, the lowest first; up to 128 bits.
template <typename T>
inline void PutVarint(T value, std::string* out) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(static_cast<uint8_t>(value) | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}
inline void PutBytes(std::string_view bytes, std::string* out) {
  PutVarint(static_cast<uint64_t>(bytes.size()), out);
  out->append(bytes);
}

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  template <typename T>
  T Raw() {
    T value = {};
    const std::string_view from = Take(sizeof(T));
    if (from.size() == sizeof(T)) std::memcpy(&value, from.data(), sizeof(T));
    return value;
  }
  uint32_t U32() { return Raw<uint32_t>(); }
  uint64_t U64() { return Raw<uint64_t>(); }
  double Double() { return Raw<double>(); }

  template <typename T = uint64_t>
  T Varint() {
    T value = 0;
    for (unsigned shift = 0; shift < 8 * sizeof(T); shift += 7) {
      const std::string_view from = Take(1);
      if (from.empty()) return 0;
      const auto byte = static_cast<uint8_t>(from[0]);
      const T bits = static_cast<T>(byte & 0x7F);
      if (static_cast<T>(bits << shift) >> shift != bits) break;  // more than the type holds
      value |= bits << shift;
      if (byte < 0x80) return value;
    }
    ok_ = false;
    return 0;
  }
  std::string_view Bytes() { return Take(Varint<uint64_t>()); }
  // The next n bytes, or none of them.
  std::string_view Take(uint64_t n) {
    if (!ok_ || n > bytes_.size()) {
      ok_ = false;
      return {};
    }
    const std::string_view taken = bytes_.substr(0, n);
    bytes_.remove_prefix(n);
    return taken;
  }

  bool ok() const { return ok_; }
  bool empty() const { return bytes_.empty(); }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

}  // namespace countermark::audit

#endif  // COUNTERMARK_SRC_AUDIT_BYTES_H_
