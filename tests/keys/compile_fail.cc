// What a secret must not be able to do. Without a case this file compiles (the control); with -DCASE_… it must not.
#if defined(CASE_print) || defined(CASE_print_bytes) || defined(CASE_print_to_string)
#include <iostream>
#include <sstream>
#endif
#include <string>
#include <string_view>

#include "countermark/keys/secret.h"

int main() {
  const countermark::Secret32 a = countermark::Secret32::Random(), b = a;
  countermark::SecretBytes c(4), d(4);
  const uint8_t* revealed = a.Reveal(countermark::SecretAccess());
#if defined(CASE_print)
  std::cout << a;
#elif defined(CASE_print_bytes)
  std::cout << c;
#elif defined(CASE_print_to_string)
  std::ostringstream out;
  out << a;
#elif defined(CASE_equal)
  return a == b;
#elif defined(CASE_not_equal)
  return a != b;
#elif defined(CASE_equal_bytes)
  return c == d;
#elif defined(CASE_less)
  return a < b;
#elif defined(CASE_to_string)
  std::string text = a;
#elif defined(CASE_to_string_explicit)
  std::string text(a);
#elif defined(CASE_to_view)
  std::string_view view = c;
#elif defined(CASE_copy_bytes)
  countermark::SecretBytes copy = c;
#elif defined(CASE_default)
  countermark::Secret32 none;
#elif defined(CASE_reveal_unnamed)
  revealed = a.Reveal();
#elif defined(CASE_reveal_braces)
  revealed = a.Reveal({});
#elif defined(CASE_index)
  return a[0];
#endif
  return revealed != nullptr && countermark::Secret32::ConstantTimeEqual(a, b) && c.size() == d.size() ? 0 : 1;
}
