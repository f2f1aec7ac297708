// The request table: what the device holds of each request, laid out once for host and device.
//
// A slot is a request's place: its parameters and keys (SlotRecord, written whole when the request begins), the tokens it has committed, what
// became of each, and the set of windows that have stood. All of it lies in device memory that the hook allocates when it is made; nothing is
// allocated afterwards. An ended slot is zero from end to end.
#ifndef COUNTERMARK_KERNELS_REQUEST_TABLE_H_
#define COUNTERMARK_KERNELS_REQUEST_TABLE_H_

#include <cstdint>

namespace countermark {

inline constexpr int kTableCauses = 8;    // as countermark::Cause, in its order
inline constexpr int kMaxDepth = 31;      // draft tokens before a row, at most

// Causes as the device writes them: the numbers of countermark::Cause (sampling/request.h), which includes what a device file cannot.
enum : uint8_t {
  kRowMarked = 0, kRowStart = 1, kRowGreedy = 2, kRowRepeatedWindow = 3, kRowForced = 4, kRowTail = 5, kRowFault = 6, kRowOff = 7,
};

// How a slot's rows are treated.
enum SlotState : uint8_t {
  kSlotEmpty = 0,   // never begun, or ended: its rows are drawn plainly at temperature 1 and count as faults
  kSlotMarked = 1,
  kSlotGreedy = 2,  // the likeliest token, unmarked (the policy allows it)
  kSlotOff = 3,     // plain draws, unmarked, as the operator asked
  kSlotFaulty = 4,  // plain draws: the request's keys were missing; every token counts as a fault
};

// Secret: keys. Written by the host when a request begins; 16-byte aligned so that it is copied in whole words.
struct alignas(16) SlotRecord {
  uint32_t channel_keys[4][8];
  uint32_t route_key[8];
  uint32_t sampling_key[8];      // of plain draws
  uint32_t channel_weights[4];   // in 1/65536
  uint64_t window_salt;          // of the hash of windows, so that nobody can make windows that collide
  uint64_t top_p;                // Threshold(top_p): 2³² is off
  uint64_t least;                // smallest weight that min-p leaves, ≥ 1
  float scale;                   // InverseTemperature(temperature)
  float temperature;
  float delta;                   // partition
  uint32_t red_factor;           // partition: RedFactor(delta)
  int32_t top_k;                 // 0: off
  int32_t candidates;            // tournament: M ≥ 1
  uint8_t state;                 // SlotState
  uint8_t scheme;                // 1…3
  uint8_t window;                // h
  uint8_t channels;              // 1…4
  uint8_t green;                 // partition: G
  uint8_t layers;                // tournament: m
  uint8_t plain_channels;        // bit c: channel c has no key in this request; its windows are drawn plainly and counted as off
  uint8_t reserved[5];
};

// What a call said of the next tokens of a slot, until they are committed.
struct Pending {
  uint64_t position;             // of tokens[0]
  uint32_t tokens[kMaxDepth + 1];
  uint8_t causes[kMaxDepth + 1];
  uint8_t count;
  uint8_t any_token;             // the cause holds whatever token the host takes (bias of the partition scheme)
};

struct Slot {
  SlotRecord record;
  uint64_t length;               // tokens committed; beyond max_length they are counted and not kept
  uint64_t counters[kTableCauses];
  uint64_t claimed;              // the row and step that last claimed this slot: one that is named twice in a batch is settled once
  Pending pending;
};

// Totals over all requests since the hook was made, and the clock of its steps.
struct TableMetrics {
  unsigned long long tokens[kTableCauses];
  unsigned long long bad_slots;         // rows whose slot did not exist or had not begun, or whose depth did not follow
  unsigned long long bad_rows;          // rows with NaN, +inf or nothing finite
  unsigned long long too_long;          // tokens beyond max_length
  unsigned long long steps;
  unsigned long long last_step_ns, all_steps_ns;
};

// Pointers into device memory; passed to kernels by value. `seen_size` is a power of two, at least twice max_length.
struct RequestTable {
  Slot* slots;                   // count
  uint32_t* tokens;              // count × max_length
  uint8_t* causes;               // count × max_length
  uint32_t* seen;                // count × seen_size: 0, or 1 + the position at which a window first stood
  TableMetrics* metrics;
  const uint32_t* spare_key;     // 8 words: draws of rows without a request
  int32_t count;
  int32_t max_length;
  uint32_t seen_size;
};

}  // namespace countermark

#endif  // COUNTERMARK_KERNELS_REQUEST_TABLE_H_
