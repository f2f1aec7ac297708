// CRC-32C (Castagnoli, RFC 3720 appendix B.4), by the processor's own instruction where it has one.
//
//   Crc32c("123456789")            // 0xE3069283
//   Crc32c(tail, Crc32c(head))     // of head and tail together
#ifndef COUNTERMARK_SRC_AUDIT_CRC32C_H_
#define COUNTERMARK_SRC_AUDIT_CRC32C_H_

#include <cstdint>
#include <string_view>

namespace countermark::audit {

uint32_t Crc32c(std::string_view bytes, uint32_t before = 0);

// The same without that instruction, for tests.
uint32_t Crc32cByTable(std::string_view bytes, uint32_t before = 0);

}  // namespace countermark::audit

#endif  // COUNTERMARK_SRC_AUDIT_CRC32C_H_
