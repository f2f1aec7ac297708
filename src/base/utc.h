// A time as people and files write it.
#ifndef COUNTERMARK_SRC_BASE_UTC_H_
#define COUNTERMARK_SRC_BASE_UTC_H_

#include <ctime>
#include <string>

namespace countermark {

// "2026-11-01T00:00:00Z": UTC, RFC 3339 to the second, of seconds since 1970.
std::string FormatUtc(std::time_t time);
// Of this machine's clock.
inline std::string UtcNow() { return FormatUtc(std::time(nullptr)); }

}  // namespace countermark

#endif  // COUNTERMARK_SRC_BASE_UTC_H_
