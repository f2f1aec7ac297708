// What an engine that serves requests elsewhere than in Hook::Choose must know of them: their keys, and the numbers of their hook.
//
//   for (const Secret32& key : RequestAccess::ChannelKeys(request)) LoadKeyWords(key.Reveal(SecretAccess()), record.channel_keys[c++]);
//
// For src/server alone: the public classes show no key.
#ifndef COUNTERMARK_SRC_SAMPLING_REQUEST_ACCESS_H_
#define COUNTERMARK_SRC_SAMPLING_REQUEST_ACCESS_H_

#include <cstdint>
#include <span>

#include "countermark/sampling/hook.h"
#include "countermark/sampling/request.h"

namespace countermark {

struct RequestAccess {
  // One a channel, in the epoch's order.
  static std::span<const Secret32> ChannelKeys(const Request& request) { return request.channel_keys_; }
  // Bit c: channel c has no key in this request, and its windows are drawn plainly.
  static uint32_t PlainChannels(const Request& request) { return request.plain_channels_; }
  // Of the plain draws.
  static const Secret32& SamplingKey(const Request& request) { return request.sampling_key_; }
  // A request without keys of its own, that no hook chooses for: its tokens, windows and counters are kept like any other's.
  static Request WithoutKeys(int window, const SamplingParameters& parameters) {
    Request request(window, Secret32::Random());
    request.parameters_ = parameters;
    return request;
  }

  static const Secret32& RouteKey(const Hook& hook) { return hook.route_; }
  static std::span<const uint32_t> ChannelWeights(const Hook& hook) { return hook.weights_; }
  static uint64_t RedFactorOf(const Hook& hook) { return hook.red_factor_; }
  static const HookOptions& Options(const Hook& hook) { return hook.options_; }
};

}  // namespace countermark

#endif  // COUNTERMARK_SRC_SAMPLING_REQUEST_ACCESS_H_
