// Which of the mark keys that share an output a window belongs to.
#ifndef COUNTERMARK_MARK_CHANNEL_H_
#define COUNTERMARK_MARK_CHANNEL_H_

#include <cstdint>

#include "countermark/mark/chacha.h"
#include "countermark/mark/platform.h"
#include "countermark/mark/window.h"

namespace countermark {

// The first channel c with r < 65536·(w_0 + … + w_c); the last takes the rest. weights in 1/65536; 1 ≤ channels ≤ 4.
COUNTERMARK_HD inline int ChannelOf(uint32_t r, const uint32_t* weights, int channels) {
  uint64_t total = 0;
  for (int c = 0; c + 1 < channels; ++c) {
    total += weights[c];
    if (r < total << 16) return c;
  }
  return channels - 1;
}

// The channel of a window: r is the first word of HChaCha20(route key, the window's encoding with purpose "route"). One channel: 0.
COUNTERMARK_HD inline int RouteWindow(const uint32_t route_key[8], Scheme scheme, const uint32_t* window, int h,
                                      const uint32_t* weights, int channels) {
  if (channels == 1) return 0;
  uint32_t input[4], out[8];
  EncodeWindow(scheme, window, h, Purpose::kRoute, input);
  HChaCha20(route_key, input, out);
  return ChannelOf(out[0], weights, channels);
}

}  // namespace countermark

#endif  // COUNTERMARK_MARK_CHANNEL_H_
