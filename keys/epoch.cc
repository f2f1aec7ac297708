#include "countermark/keys/epoch.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "countermark/keys/derive.h"
#include "keys/canonical_json.h"
#include "src/base/hex.h"
#include "src/base/status_macros.h"
#include "src/base/strings.h"

namespace countermark {
namespace {

constexpr size_t kMaxLabelBytes = 1024;
constexpr uint32_t kWeightSum = 65536;
constexpr std::string_view kChannelNames[] = {"base", "account", "request"};

absl::Status Bad(std::string_view member, std::string_view why) {
  return absl::InvalidArgumentError(Cat("epoch record: \"", member, "\" ", why));
}

absl::Status CheckRange(std::string_view member, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return Bad(member, Cat("is ", value, ", and must be ", low, " to ", high));
}

bool IsLeapYear(int year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }

// YYYY-MM-DDTHH:MM:SSZ with a day that exists. Such texts sort as the times do.
bool IsUtcSecond(std::string_view text) {
  static constexpr std::string_view kShape = "0000-00-00T00:00:00Z";
  if (text.size() != kShape.size()) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool digit = text[i] >= '0' && text[i] <= '9';
    if (kShape[i] == '0' ? !digit : text[i] != kShape[i]) return false;
  }
  const auto number = [&](size_t at, size_t size) {
    int value = 0;
    for (const char c : text.substr(at, size)) value = 10 * value + (c - '0');
    return value;
  };
  static constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const int year = number(0, 4), month = number(5, 2), day = number(8, 2);
  if (month < 1 || month > 12) return false;
  const int days = kDays[month - 1] + (month == 2 && IsLeapYear(year) ? 1 : 0);
  return day >= 1 && day <= days && number(11, 2) <= 23 && number(14, 2) <= 59 && number(17, 2) <= 59;
}

std::vector<std::string_view> SplitCommas(std::string_view text) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t comma = text.find(',');
    parts.push_back(text.substr(0, comma));
    if (comma == std::string_view::npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

int64_t Thousandths(double value) { return std::llround(value * 1000); }

}  // namespace

namespace {

// A character that shows as nothing, as a blank like any other, or that turns the text around it: two labels that differ in such a one look
// alike, and a report must not be able to name an account that its reader takes for another.
bool LooksLikeAnother(char32_t c) {
  constexpr char32_t kRanges[][2] = {{0xA0, 0xA0},     {0xAD, 0xAD},     {0x34F, 0x34F},   {0x61C, 0x61C},   {0x115F, 0x1160}, {0x1680, 0x1680},
                                     {0x17B4, 0x17B5}, {0x180B, 0x180F}, {0x2000, 0x200F}, {0x2028, 0x202F}, {0x205F, 0x206F}, {0x3000, 0x3000},
                                     {0x3164, 0x3164}, {0xFE00, 0xFE0F}, {0xFEFF, 0xFEFF}, {0xFFA0, 0xFFA0}, {0xFFF0, 0xFFFB}, {0x1D173, 0x1D17A},
                                     {0xE0000, 0xE0FFF}};
  for (const auto& [first, last] : kRanges) {
    if (c >= first && c <= last) return true;
  }
  return false;
}

// The character that begins at text[i]; text is valid UTF-8.
char32_t CharacterAt(std::string_view text, size_t i) {
  const auto byte = [&](size_t k) { return static_cast<char32_t>(static_cast<unsigned char>(text[k])); };
  const char32_t b = byte(i);
  if (b < 0x80) return b;
  if (b < 0xE0) return (b & 0x1F) << 6 | (byte(i + 1) & 0x3F);
  if (b < 0xF0) return (b & 0x0F) << 12 | (byte(i + 1) & 0x3F) << 6 | (byte(i + 2) & 0x3F);
  return (b & 0x07) << 18 | (byte(i + 1) & 0x3F) << 12 | (byte(i + 2) & 0x3F) << 6 | (byte(i + 3) & 0x3F);
}

}  // namespace

absl::Status ValidateLabel(std::string_view what, std::string_view label) {
  if (label.empty()) return absl::InvalidArgumentError(Cat(what, " is empty"));
  if (label.size() > kMaxLabelBytes) {
    return absl::InvalidArgumentError(Cat(what, " has ", label.size(), " bytes, and may have ", kMaxLabelBytes));
  }
  if (!keys_internal::IsUtf8(label)) return absl::InvalidArgumentError(Cat(what, " is not valid UTF-8"));
  for (size_t i = 0; i < label.size(); ++i) {
    // C0, DEL and C1 (C2 80 to C2 9F in UTF-8): a label is printed at terminals, and must not be able to steer one.
    const auto byte = static_cast<unsigned char>(label[i]);
    if (byte < 0x20 || byte == 0x7F || (byte == 0xC2 && static_cast<unsigned char>(label[i + 1]) < 0xA0)) {
      return absl::InvalidArgumentError(Cat(what, " has a control character at byte ", i));
    }
    if ((byte & 0xC0) != 0x80 && LooksLikeAnother(CharacterAt(label, i))) {
      return absl::InvalidArgumentError(Cat(what, " has an invisible or formatting character, or an unusual blank, at byte ", i));
    }
  }
  if (label.front() == ' ' || label.back() == ' ') return absl::InvalidArgumentError(Cat(what, " begins or ends with a blank"));
  return absl::OkStatus();
}

absl::Status EpochRecord::Validate() const {
  CM_RETURN_IF_ERROR(CheckRange("format", format, 1, 1));
  CM_RETURN_IF_ERROR(ValidateLabel("epoch record: \"tenant\"", tenant));
  CM_RETURN_IF_ERROR(ValidateLabel("epoch record: \"epoch\"", epoch));
  const int scheme = static_cast<int>(mark.scheme);
  if (scheme < 1 || scheme > 3) return Bad("scheme", "is none of partition, tournament, gumbel");
  CM_RETURN_IF_ERROR(CheckRange("window", mark.window, kMinWindow, kMaxWindow));
  CM_RETURN_IF_ERROR(CheckRange("green", mark.green, 1, 255));
  CM_RETURN_IF_ERROR(CheckRange("layers", mark.layers, 1, kMaxLayers));
  if (!(mark.delta > 0 && mark.delta <= 16)) return Bad("delta", "must be above 0 and at most 16");
  if (static_cast<double>(Thousandths(mark.delta)) / 1000 != mark.delta) return Bad("delta", "may have three decimals at most");
  CM_RETURN_IF_ERROR(CheckRange("channels", static_cast<int64_t>(channels.size()), 1, kMaxChannels));
  uint64_t sum = 0;
  for (size_t i = 0; i < channels.size(); ++i) {
    const ChannelSpec& channel = channels[i];
    if (std::find(std::begin(kChannelNames), std::end(kChannelNames), channel.name) == std::end(kChannelNames)) {
      return Bad("channels", Cat("entry ", i, ": the name must be base, account or request"));
    }
    if (ChannelIndex(channel.name) != static_cast<int>(i)) return Bad("channels", Cat("name \"", channel.name, "\" twice"));
    if (channel.weight < 1 || channel.weight > kWeightSum) return Bad("channels", Cat("entry ", i, ": the weight must be 1 to 65536"));
    sum += channel.weight;
  }
  if (channels[0].name != "base") return Bad("channels", "must begin with base");
  if (sum != kWeightSum) return Bad("channels", Cat("have weights that sum to ", sum, ", and must sum to 65536"));
  CM_RETURN_IF_ERROR(CheckRange("vocabulary", vocabulary, 1, kTokenLimit));
  if (!IsLowerHex(tokenizer_sha256, 32)) return Bad("tokenizer_sha256", "must be 64 lower-case hexadecimal digits");
  if (low_entropy != LowEntropyPolicy::kFloor && low_entropy != LowEntropyPolicy::kDeny && low_entropy != LowEntropyPolicy::kAllow) {
    return Bad("low_entropy", "is none of floor, deny, allow");
  }
  if (!IsUtcSecond(first_use)) return Bad("first_use", "must be a UTC time such as 2026-11-01T00:00:00Z");
  if (!IsUtcSecond(last_use)) return Bad("last_use", "must be a UTC time such as 2026-11-30T23:59:59Z");
  if (last_use < first_use) return Bad("last_use", "lies before \"first_use\"");
  return absl::OkStatus();
}

std::string EpochRecord::CanonicalJson() const {
  using keys_internal::AppendJsonString;
  std::string out = "{\"channels\":[";
  for (size_t i = 0; i < channels.size(); ++i) {
    out += i == 0 ? "{\"name\":" : ",{\"name\":";
    AppendJsonString(&out, channels[i].name);
    out += Cat(",\"weight\":", channels[i].weight, "}");
  }
  out += Cat("],\"delta\":", keys_internal::ThousandthsToJson(Thousandths(mark.delta)), ",\"epoch\":");
  AppendJsonString(&out, epoch);
  out += ",\"first_use\":";
  AppendJsonString(&out, first_use);
  out += Cat(",\"format\":", format, ",\"green\":", mark.green, ",\"last_use\":");
  AppendJsonString(&out, last_use);
  out += Cat(",\"layers\":", mark.layers, ",\"low_entropy\":\"", LowEntropyPolicyName(low_entropy), "\",\"scheme\":\"",
             SchemeName(mark.scheme), "\",\"tenant\":");
  AppendJsonString(&out, tenant);
  out += ",\"tokenizer_sha256\":";
  AppendJsonString(&out, tokenizer_sha256);
  out += Cat(",\"vocabulary\":", vocabulary, ",\"window\":", mark.window, "}");
  return out;
}

int EpochRecord::ChannelIndex(std::string_view name) const {
  for (size_t i = 0; i < channels.size(); ++i) {
    if (channels[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

absl::StatusOr<Scheme> ParseScheme(std::string_view name) {
  for (const Scheme scheme : {Scheme::kPartition, Scheme::kTournament, Scheme::kGumbel}) {
    if (SchemeName(scheme) == name) return scheme;
  }
  return absl::InvalidArgumentError(Cat("no scheme is called '", name, "'; there are partition, tournament and gumbel"));
}

std::string_view SchemeName(Scheme scheme) {
  switch (scheme) {
    case Scheme::kPartition: return "partition";
    case Scheme::kTournament: return "tournament";
    case Scheme::kGumbel: return "gumbel";
  }
  return "unknown";
}

absl::StatusOr<LowEntropyPolicy> ParseLowEntropyPolicy(std::string_view name) {
  for (const LowEntropyPolicy policy : {LowEntropyPolicy::kFloor, LowEntropyPolicy::kDeny, LowEntropyPolicy::kAllow}) {
    if (LowEntropyPolicyName(policy) == name) return policy;
  }
  return absl::InvalidArgumentError(Cat("no low-entropy policy is called '", name, "'; there are floor, deny and allow"));
}

std::string_view LowEntropyPolicyName(LowEntropyPolicy policy) {
  switch (policy) {
    case LowEntropyPolicy::kFloor: return "floor";
    case LowEntropyPolicy::kDeny: return "deny";
    case LowEntropyPolicy::kAllow: return "allow";
  }
  return "unknown";
}

absl::StatusOr<std::vector<ChannelSpec>> ParseChannels(std::string_view weights, std::string_view names) {
  const std::vector<std::string_view> shares = SplitCommas(weights);
  std::vector<std::string_view> labels;
  if (names.empty()) {
    if (shares.size() > std::size(kChannelNames)) {
      return absl::InvalidArgumentError(Cat(shares.size(), " weights are given, and there are three kinds of channel"));
    }
    labels.assign(std::begin(kChannelNames), std::begin(kChannelNames) + shares.size());
  } else {
    labels = SplitCommas(names);
    if (labels.size() != shares.size()) {
      return absl::InvalidArgumentError(Cat(labels.size(), " channels and ", shares.size(), " weights are given; each channel has one weight"));
    }
  }
  std::vector<ChannelSpec> channels;
  double sum = 0;
  int64_t left = kWeightSum;
  for (size_t i = 0; i < shares.size(); ++i) {
    const std::string text(shares[i]);
    char* end = nullptr;
    const double share = text.empty() || text.find_first_not_of("0123456789.") != std::string::npos ? NAN : strtod(text.c_str(), &end);
    if (!(share > 0 && share <= 1) || *end != '\0') {
      return absl::InvalidArgumentError(Cat("weight '", text, "' is not a decimal above 0 and at most 1"));
    }
    sum += share;
    const int64_t weight = i + 1 == shares.size() ? left : std::llround(share * kWeightSum);
    left -= weight;
    if (weight < 1) return absl::InvalidArgumentError(Cat("weight '", text, "' leaves channel '", labels[i], "' nothing in steps of 1/65536"));
    channels.push_back({std::string(labels[i]), static_cast<uint32_t>(weight)});
  }
  if (!(std::abs(sum - 1) <= 0.001)) return absl::InvalidArgumentError(Cat("the weights '", weights, "' do not sum to 1"));
  return channels;
}

Secret32 EpochKeys::Base() const { return DeriveBaseKey(epoch_key); }
Secret32 EpochKeys::Route() const { return DeriveRouteKey(epoch_key); }
Secret32 EpochKeys::Account(std::string_view label) const { return DeriveAccountKey(epoch_key, label); }
bool EpochKeys::HasAccount(std::string_view label) const { return std::find(accounts.begin(), accounts.end(), label) != accounts.end(); }

}  // namespace countermark
