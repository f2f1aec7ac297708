// Structs that cross the C interface: they begin with struct_size, and grow at their end.
//
//   countermark_request request;
//   if (!TakeStruct(given, kRequestLeast, &request)) return Refuse(…);   // request held the defaults
#ifndef COUNTERMARK_SRC_SERVER_STRUCTS_H_
#define COUNTERMARK_SRC_SERVER_STRUCTS_H_

#include <cstddef>
#include <cstring>
#include <algorithm>

namespace countermark::server {

// Whether `size` can be that of a T as some caller knows it: whole 8-byte steps, so that no member is cut, `least` bytes or more; and whether all
// beyond what this build knows is zero.
template <typename T>
bool SizeIsSound(const T* given, size_t least) {
  static_assert(alignof(T) == 8);
  const size_t size = given->struct_size;
  if (size < least || size % 8 != 0 || size > 4096) return false;
  const unsigned char* bytes = reinterpret_cast<const unsigned char*>(given);
  return size <= sizeof(T) || std::all_of(bytes + sizeof(T), bytes + size, [](unsigned char b) { return b == 0; });
}

// *taken holds the defaults, and takes what the caller gave of its members. False: the size is no struct's, or members are set that this build does
// not know.
template <typename T>
bool TakeStruct(const T* given, size_t least, T* taken) {
  if (!SizeIsSound(given, least)) return false;
  std::memcpy(taken, given, std::min(given->struct_size, sizeof(T)));
  taken->struct_size = sizeof(T);
  return true;
}

}  // namespace countermark::server

#endif  // COUNTERMARK_SRC_SERVER_STRUCTS_H_
