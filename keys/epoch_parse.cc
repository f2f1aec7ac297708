// Reading an epoch record: strict, so that two readers never take one file for two different tests.
#include <algorithm>
#include <set>
#include <vector>

#include <nlohmann/json.hpp>

#include "countermark/keys/epoch.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kMembers[] = {"channels", "delta",       "epoch",  "first_use", "format",           "green",      "last_use",
                                         "layers",   "low_entropy", "scheme", "tenant",    "tokenizer_sha256", "vocabulary", "window"};

absl::Status Bad(std::string_view member, std::string_view why) {
  return absl::InvalidArgumentError(Cat("epoch record: \"", member, "\" ", why));
}

// A name for an error text: member names come from the file, so an odd or long one is not repeated.
std::string Shown(const std::string& name) {
  const bool plain = name.size() <= 40 && name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == std::string::npos;
  return plain ? name : "(unprintable)";
}

absl::StatusOr<std::string> Text(const Json& object, const char* member) {
  const Json& value = object.at(member);
  if (!value.is_string()) return Bad(member, "must be a string");
  return value.get<std::string>();
}

// Integers are written as integers: 2.0 and 2e0 are errors, since the canonical form of neither is what stands there.
absl::StatusOr<uint32_t> Integer(const Json& object, const char* member) {
  const Json& value = object.at(member);
  if (!value.is_number_unsigned() || value.get<uint64_t>() > 0x7FFFFFFF) return Bad(member, "must be an integer from 0 to 2147483647");
  return static_cast<uint32_t>(value.get<uint64_t>());
}

absl::StatusOr<std::vector<ChannelSpec>> Channels(const Json& array) {
  if (!array.is_array()) return Bad("channels", "must be an array");
  std::vector<ChannelSpec> channels;
  for (const Json& entry : array) {
    if (!entry.is_object() || entry.size() != 2 || !entry.contains("name") || !entry.contains("weight")) {
      return Bad("channels", Cat("entry ", channels.size(), " must be an object of \"name\" and \"weight\""));
    }
    CM_ASSIGN_OR_RETURN(std::string name, Text(entry, "name"));
    CM_ASSIGN_OR_RETURN(const uint32_t weight, Integer(entry, "weight"));
    channels.push_back({std::move(name), weight});
  }
  return channels;
}

// nlohmann keeps the last of two members of one name; other readers keep the first. Neither is taken.
absl::StatusOr<Json> ParseWithoutDuplicates(std::string_view text) {
  std::vector<std::set<std::string>> open;
  std::string duplicate;
  const auto callback = [&](int, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) open.emplace_back();
    if (event == Json::parse_event_t::object_end && !open.empty()) open.pop_back();
    if (event == Json::parse_event_t::key && !open.empty() && !open.back().insert(parsed.get<std::string>()).second) {
      duplicate = parsed.get<std::string>();
    }
    return true;
  };
  Json json = Json::parse(text.begin(), text.end(), callback, /*allow_exceptions=*/false);
  if (json.is_discarded()) return absl::InvalidArgumentError("epoch record: not valid JSON");
  if (!duplicate.empty()) return Bad(Shown(duplicate), "stands twice");
  return json;
}

}  // namespace

absl::StatusOr<EpochRecord> EpochRecord::Parse(std::string_view text) {
  CM_ASSIGN_OR_RETURN(const Json json, ParseWithoutDuplicates(text));
  if (!json.is_object()) return absl::InvalidArgumentError("epoch record: not a JSON object");
  for (const std::string_view member : kMembers) {
    if (!json.contains(std::string(member))) return Bad(member, "is missing");
  }
  if (json.size() != std::size(kMembers)) {
    for (const auto& item : json.items()) {
      if (std::find(std::begin(kMembers), std::end(kMembers), item.key()) == std::end(kMembers)) {
        return Bad(Shown(item.key()), "is not a member that format 1 knows");
      }
    }
  }
  EpochRecord record;
  CM_ASSIGN_OR_RETURN(const uint32_t format, Integer(json, "format"));
  record.format = static_cast<int>(format);
  CM_ASSIGN_OR_RETURN(record.tenant, Text(json, "tenant"));
  CM_ASSIGN_OR_RETURN(record.epoch, Text(json, "epoch"));
  CM_ASSIGN_OR_RETURN(const std::string scheme, Text(json, "scheme"));
  absl::StatusOr<Scheme> known_scheme = ParseScheme(scheme);
  if (!known_scheme.ok()) return Bad("scheme", "is none of partition, tournament, gumbel");
  record.mark.scheme = *known_scheme;
  CM_ASSIGN_OR_RETURN(const uint32_t window, Integer(json, "window"));
  record.mark.window = static_cast<int>(window);
  CM_ASSIGN_OR_RETURN(const uint32_t green, Integer(json, "green"));
  record.mark.green = static_cast<int>(green);
  CM_ASSIGN_OR_RETURN(const uint32_t layers, Integer(json, "layers"));
  record.mark.layers = static_cast<int>(layers);
  if (!json.at("delta").is_number()) return Bad("delta", "must be a number");
  record.mark.delta = json.at("delta").get<double>();
  CM_ASSIGN_OR_RETURN(record.channels, Channels(json.at("channels")));
  CM_ASSIGN_OR_RETURN(record.vocabulary, Integer(json, "vocabulary"));
  CM_ASSIGN_OR_RETURN(record.tokenizer_sha256, Text(json, "tokenizer_sha256"));
  CM_ASSIGN_OR_RETURN(const std::string policy, Text(json, "low_entropy"));
  absl::StatusOr<LowEntropyPolicy> known_policy = ParseLowEntropyPolicy(policy);
  if (!known_policy.ok()) return Bad("low_entropy", "is none of floor, deny, allow");
  record.low_entropy = *known_policy;
  CM_ASSIGN_OR_RETURN(record.first_use, Text(json, "first_use"));
  CM_ASSIGN_OR_RETURN(record.last_use, Text(json, "last_use"));
  CM_RETURN_IF_ERROR(record.Validate());
  return record;
}

}  // namespace countermark
