// Joining text where std::string_view meets Abseil, whose own string_view is another type on Debian.
//
//   return absl::NotFoundError(Cat("no epoch '", name, "'; the store has ", count));   // name: std::string_view
#ifndef COUNTERMARK_SRC_BASE_STRINGS_H_
#define COUNTERMARK_SRC_BASE_STRINGS_H_

#include <string>
#include <string_view>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace countermark {

inline absl::string_view AbslView(std::string_view text) { return absl::string_view(text.data(), text.size()); }

template <typename T>
decltype(auto) CatArgument(const T& value) {
  if constexpr (std::is_same_v<T, std::string_view>) {
    return AbslView(value);
  } else {
    return (value);
  }
}

// absl::StrCat that also takes std::string_view.
template <typename... T>
std::string Cat(const T&... parts) {
  return absl::StrCat(CatArgument(parts)...);
}

}  // namespace countermark

#endif  // COUNTERMARK_SRC_BASE_STRINGS_H_
