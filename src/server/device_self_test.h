// Whether a CUDA device gives the bits of the host: what every device hook is tried on when it is made.
//
//   CM_RETURN_IF_ERROR(DeviceSelfTest(0));
#ifndef COUNTERMARK_SRC_SERVER_DEVICE_SELF_TEST_H_
#define COUNTERMARK_SRC_SERVER_DEVICE_SELF_TEST_H_

#include "absl/status/status.h"

namespace countermark::server {

// Runs the launchers of kernels/mark_words.h, and steps of each scheme with drafts and every parameter, on this very device, and compares each result
// with the host's. Internal: something differs, and this device must not mark. Unavailable, ResourceExhausted: the runtime's errors.
absl::Status DeviceSelfTest(int device);

}  // namespace countermark::server

#endif  // COUNTERMARK_SRC_SERVER_DEVICE_SELF_TEST_H_
