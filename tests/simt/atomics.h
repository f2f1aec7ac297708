// CUDA's atomics, and LoadAcquire and StoreRelease of kernels/device.cuh. Each is a place where the schedule may change threads.
//
// They are templates so that they are compiled with the kernel: under -fsanitize=thread the race check then sees an atomic access where there
// is one. As on the device an atomic orders nothing by itself: it publishes what the thread wrote before only once the thread has fenced.
// Taking is always granted, since readers fence in too many correct ways to tell.
#ifndef COUNTERMARK_TESTS_SIMT_ATOMICS_H_
#define COUNTERMARK_TESTS_SIMT_ATOMICS_H_

#include <cstdint>
#include <type_traits>

namespace countermark::simt {

// Before an atomic: perhaps another thread first. Returns whether the calling thread has fenced.
bool AtomicPoint();
// After one: `changed` says whether others can now see something new.
void AtomicDone(bool changed);

template <typename T>
using BitsOf = std::conditional_t<sizeof(T) == 4, uint32_t, std::conditional_t<sizeof(T) == 8, uint64_t, uint16_t>>;

template <typename T>
T FromBits(BitsOf<T> bits) {
  T value;
  __builtin_memcpy(&value, &bits, sizeof(T));
  return value;
}
template <typename T>
BitsOf<T> ToBits(T value) {
  BitsOf<T> bits;
  __builtin_memcpy(&bits, &value, sizeof(T));
  return bits;
}

// *at = update(*at) at once; gives what was there before.
template <typename T, typename Update>
T AtomicUpdate(T* at, Update update) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 2, "atomics take 16, 32 or 64 bits");
  auto* bits = reinterpret_cast<BitsOf<T>*>(at);
  const bool fenced = AtomicPoint();
  BitsOf<T> before = __atomic_load_n(bits, __ATOMIC_RELAXED);
  BitsOf<T> after;
  bool stored;
  do {
    after = ToBits<T>(update(FromBits<T>(before)));
    stored = fenced ? __atomic_compare_exchange_n(bits, &before, after, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
                    : __atomic_compare_exchange_n(bits, &before, after, false, __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE);
  } while (!stored);
  AtomicDone(before != after);
  return FromBits<T>(before);
}

}  // namespace countermark::simt

// The operand's type is the place's, as CUDA's overloads convert it.
template <typename T>
T atomicAdd(T* at, std::type_identity_t<T> x) {
  return countermark::simt::AtomicUpdate(at, [x](T old) { return static_cast<T>(old + x); });
}
template <typename T>
T atomicSub(T* at, std::type_identity_t<T> x) {
  return countermark::simt::AtomicUpdate(at, [x](T old) { return static_cast<T>(old - x); });
}
template <typename T>
T atomicMin(T* at, std::type_identity_t<T> x) {
  return countermark::simt::AtomicUpdate(at, [x](T old) { return x < old ? x : old; });
}
template <typename T>
T atomicMax(T* at, std::type_identity_t<T> x) {
  return countermark::simt::AtomicUpdate(at, [x](T old) { return old < x ? x : old; });
}
template <typename T>
T atomicAnd(T* at, std::type_identity_t<T> x) {
  return countermark::simt::AtomicUpdate(at, [x](T old) { return static_cast<T>(old & x); });
}
template <typename T>
T atomicOr(T* at, std::type_identity_t<T> x) {
  return countermark::simt::AtomicUpdate(at, [x](T old) { return static_cast<T>(old | x); });
}
template <typename T>
T atomicXor(T* at, std::type_identity_t<T> x) {
  return countermark::simt::AtomicUpdate(at, [x](T old) { return static_cast<T>(old ^ x); });
}
template <typename T>
T atomicExch(T* at, std::type_identity_t<T> x) {
  return countermark::simt::AtomicUpdate(at, [x](T) { return x; });
}
template <typename T>
T atomicCAS(T* at, std::type_identity_t<T> expected, std::type_identity_t<T> x) {
  return countermark::simt::AtomicUpdate(at, [expected, x](T old) { return old == expected ? x : old; });
}
// Counts to `limit` and starts again at 0.
inline unsigned atomicInc(unsigned* at, unsigned limit) {
  return countermark::simt::AtomicUpdate(at, [limit](unsigned old) { return old >= limit ? 0u : old + 1; });
}

namespace countermark {

template <typename T>
T LoadAcquire(const T* at) {
  static_assert(std::is_unsigned_v<T> && (sizeof(T) == 4 || sizeof(T) == 8), "as on the device");
  simt::AtomicPoint();
  const T value = __atomic_load_n(at, __ATOMIC_ACQUIRE);
  simt::AtomicDone(false);
  return value;
}
template <typename T>
void StoreRelease(T* at, std::type_identity_t<T> value) {
  static_assert(std::is_unsigned_v<T> && (sizeof(T) == 4 || sizeof(T) == 8), "as on the device");
  simt::AtomicPoint();
  __atomic_store_n(at, value, __ATOMIC_RELEASE);
  simt::AtomicDone(true);
}

}  // namespace countermark

#endif  // COUNTERMARK_TESTS_SIMT_ATOMICS_H_
