#include "src/server/ticket.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <optional>
#include <vector>

#include "src/base/file.h"
#include "src/base/hex.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark::server {
namespace {

constexpr std::string_view kHead = "cm1.";
constexpr std::string_view kContext("countermark/ticket/v1\0", 22);
constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr size_t kMostAccount = 254, kMostLabel = 128, kMacDigits = 43, kMostTicket = 640;
constexpr int64_t kMostExpiry = 999999999999;

std::string Encode(std::string_view bytes) {
  std::string digits;
  uint32_t held = 0;
  int bits = 0;
  for (const char byte : bytes) {
    held = held << 8 | static_cast<unsigned char>(byte);
    for (bits += 8; bits >= 6; bits -= 6) digits.push_back(kAlphabet[held >> (bits - 6) & 63]);
  }
  if (bits > 0) digits.push_back(kAlphabet[held << (6 - bits) & 63]);
  return digits;
}

// Nothing unless `digits` is what Encode gives for some bytes.
std::optional<std::string> Decode(std::string_view digits) {
  std::string bytes;
  uint32_t held = 0;
  int bits = 0;
  for (const char digit : digits) {
    const size_t value = kAlphabet.find(digit);
    if (digit == '\0' || value == std::string_view::npos) return std::nullopt;
    held = held << 6 | static_cast<uint32_t>(value);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes.push_back(static_cast<char>(held >> bits & 0xFF));
    }
  }
  if (Encode(bytes) != digits) return std::nullopt;
  return bytes;
}

// Well-formed UTF-8 (RFC 3629: shortest forms, no surrogates, at most U+10FFFF) without NUL.
bool IsText(std::string_view s) {
  for (size_t i = 0; i < s.size();) {
    const auto at = [&](size_t k) -> unsigned { return i + k < s.size() ? static_cast<unsigned char>(s[i + k]) : 0u; };
    const unsigned a = at(0), b = at(1);
    const auto continues = [&](size_t k) { return (at(k) & 0xC0) == 0x80; };
    size_t n = 0;
    if (a >= 0x01 && a < 0x80) n = 1;
    else if (a >= 0xC2 && a < 0xE0 && continues(1)) n = 2;
    else if (a >= 0xE0 && a < 0xF0 && continues(1) && continues(2) && (a != 0xE0 || b >= 0xA0) && (a != 0xED || b < 0xA0)) n = 3;
    else if (a >= 0xF0 && a < 0xF5 && continues(1) && continues(2) && continues(3) && (a != 0xF0 || b >= 0x90) && (a != 0xF4 || b < 0x90)) n = 4;
    if (n == 0) return false;
    i += n;
  }
  return true;
}

bool IsLabel(std::string_view label, size_t most) { return !label.empty() && label.size() <= most && IsText(label); }

absl::Status Malformed() { return absl::PermissionDeniedError("the ticket is malformed"); }

}  // namespace

absl::StatusOr<TicketKey> TicketKey::FromFile(const std::string& path) {
  CM_ASSIGN_OR_RETURN(const FileDescriptor file, OpenPrivateForReading(path));
  std::array<uint8_t, 2 * Secret32::kSize + 2> text;
  std::array<uint8_t, Secret32::kSize> bytes;
  absl::StatusOr<size_t> size = ReadFully(file.get(), text, path);
  absl::StatusOr<TicketKey> key = absl::InvalidArgumentError(Cat("'", path, "' is no ticket key: 64 hex digits and at most one newline"));
  if (size.ok()) {
    if (*size == 2 * Secret32::kSize + 1 && text[*size - 1] == '\n') --*size;
    if (HexDecodeInto({reinterpret_cast<const char*>(text.data()), *size}, bytes)) key = TicketKey(Secret32(bytes));
  } else {
    key = size.status();
  }
  OPENSSL_cleanse(text.data(), text.size());
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return key;
}

std::string TicketKey::MacOf(std::string_view text) const {
  std::string message(kContext);
  message += text;
  std::array<unsigned char, EVP_MAX_MD_SIZE> mac;
  unsigned int size = 0;
  if (HMAC(EVP_sha256(), key_.Reveal(SecretAccess()), Secret32::kSize, reinterpret_cast<const unsigned char*>(message.data()), message.size(), mac.data(), &size) == nullptr) {
    return "";  // no MAC: nothing compares equal to it
  }
  return Encode({reinterpret_cast<const char*>(mac.data()), size});
}

absl::StatusOr<std::string> TicketKey::Mint(const Ticket& ticket) const {
  if (!IsLabel(ticket.account, kMostAccount)) return absl::InvalidArgumentError("a ticket's account is 1 to 254 bytes of UTF-8 without NUL");
  if (!IsLabel(ticket.request, kMostLabel)) return absl::InvalidArgumentError("a ticket's request label is 1 to 128 bytes of UTF-8 without NUL");
  if (ticket.expiry < 1 || ticket.expiry > kMostExpiry) return absl::InvalidArgumentError(Cat("a ticket's expiry is not Unix seconds: ", ticket.expiry));
  const std::string text = Cat(kHead, Encode(ticket.account), ".", Encode(ticket.request), ".", ticket.expiry);
  const std::string mac = MacOf(text);
  if (mac.size() != kMacDigits) return absl::InternalError("HMAC-SHA256 failed");
  return Cat(text, ".", mac);
}

absl::StatusOr<Ticket> TicketKey::Verify(std::string_view ticket, int64_t now) const {
  if (ticket.size() > kMostTicket || ticket.substr(0, kHead.size()) != kHead) return Malformed();
  std::vector<std::string_view> parts;  // account, label, expiry, MAC
  for (size_t at = kHead.size();;) {
    const size_t end = ticket.find('.', at);
    parts.push_back(ticket.substr(at, end == std::string_view::npos ? end : end - at));
    if (end == std::string_view::npos) break;
    at = end + 1;
  }
  if (parts.size() != 4 || parts[3].size() != kMacDigits) return Malformed();
  // The text as it stands, before anything in it is read.
  const std::string mac = MacOf(ticket.substr(0, ticket.size() - kMacDigits - 1));
  if (mac.size() != kMacDigits || CRYPTO_memcmp(mac.data(), parts[3].data(), kMacDigits) != 0) {
    return absl::PermissionDeniedError("the ticket's MAC is not this key's");
  }
  const std::optional<std::string> account = Decode(parts[0]), label = Decode(parts[1]);
  const std::string_view digits = parts[2];
  if (!account || !label || !IsLabel(*account, kMostAccount) || !IsLabel(*label, kMostLabel) || digits.empty() || digits.size() > 12 || digits[0] == '0') {
    return Malformed();
  }
  int64_t expiry = 0;
  for (const char digit : digits) {
    if (digit < '0' || digit > '9') return Malformed();
    expiry = 10 * expiry + (digit - '0');
  }
  if (now >= expiry) return absl::DeadlineExceededError(Cat("the ticket expired at ", expiry));
  return Ticket{*account, *label, expiry};
}

}  // namespace countermark::server
