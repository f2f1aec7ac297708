// The account statement that travels from the API to the hook, under a MAC. The twin of python/countermark/serving/ticket.py.
//
//   CM_ASSIGN_OR_RETURN(TicketKey key, TicketKey::FromFile("/run/secrets/ticket.key"));   // 0600, 64 hex digits
//   CM_ASSIGN_OR_RETURN(Ticket ticket, key.Verify(text, std::time(nullptr)));
//
//   text   = "cm1." b64url(account) "." b64url(request label) "." expiry in Unix seconds, decimal
//   ticket = text "." b64url(HMAC-SHA256(key, "countermark/ticket/v1" 0x00 text))
//
// b64url is RFC 4648's alphabet for addresses without padding, and only its canonical form is read. Account and label are UTF-8, 1 to 254 and 1 to 128
// bytes; the expiry has no leading zero and at most 12 digits. A ticket is valid while now < expiry. Known answers: tests/vectors/ticket-v1.json.
#ifndef COUNTERMARK_SRC_SERVER_TICKET_H_
#define COUNTERMARK_SRC_SERVER_TICKET_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "countermark/keys/secret.h"

namespace countermark::server {

struct Ticket {
  std::string account;
  std::string request;
  int64_t expiry = 0;  // Unix seconds
};

class TicketKey {
 public:
  explicit TicketKey(const Secret32& key) : key_(key) {}

  // 64 hex digits and at most one newline. Errors: NotFound; FailedPrecondition (its group or others may read it); InvalidArgument, without the content.
  static absl::StatusOr<TicketKey> FromFile(const std::string& path);

  // InvalidArgument: an account or label that is empty, too long or has a NUL, or an expiry that is not 1 … 10¹²−1.
  absl::StatusOr<std::string> Mint(const Ticket& ticket) const;

  // PermissionDenied: malformed, or another key's ("forged"). DeadlineExceeded: its MAC is right and it has expired ("stale"). MACs are compared in time
  // that does not depend on how near one comes.
  absl::StatusOr<Ticket> Verify(std::string_view ticket, int64_t now) const;

 private:
  std::string MacOf(std::string_view text) const;  // in b64url
  Secret32 key_;
};

}  // namespace countermark::server

#endif  // COUNTERMARK_SRC_SERVER_TICKET_H_
