// What a tokenizer.json has beside the way from text to tokens: read, so that a file with parts unknown is refused, and not applied.
#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/tokenize/hf/decoder.h"

namespace countermark::hf {
namespace {

// ["[SEP]", 102]
void CheckTokenAndId(Fields* fields, std::string_view name) {
  const Json& pair = fields->Any(name);
  if (pair.kind != Json::kArray || pair.items.size() != 2 || pair.items[0].kind != Json::kString || !WholeNumber(pair.items[1]).has_value()) {
    fields->Fail(Broken(fields->Place(name), "must be a text and its number"));
  }
}

// [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
absl::Status CheckTemplate(const Json& json, const std::string& where) {
  if (json.kind != Json::kArray) return Broken(where, "must be an array");
  for (size_t i = 0; i < json.items.size(); ++i) {
    const std::string place = Cat(where, "/", i);
    const Json& item = json.items[i];
    if (item.kind != Json::kObject || item.names.size() != 1 || (item.names[0] != "SpecialToken" && item.names[0] != "Sequence")) {
      return Unknown(place, "must be {\"SpecialToken\": …} or {\"Sequence\": …}");
    }
    Fields fields(item.items[0], Cat(place, "/", item.names[0]));
    fields.String("id");
    fields.Whole("type_id");
    CM_RETURN_IF_ERROR(fields.Done());
  }
  return absl::OkStatus();
}

absl::Status CheckSpecialTokens(const Json& json, const std::string& where) {
  if (json.kind != Json::kObject) return Broken(where, "must be an object");
  for (size_t i = 0; i < json.items.size(); ++i) {
    Fields fields(json.items[i], Cat(where, "/", json.names[i]));
    fields.String("id");
    fields.Array("ids");
    fields.Array("tokens");
    CM_RETURN_IF_ERROR(fields.Done());
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckPostProcessor(const Json& json, const std::string& where) {
  Fields fields(json, where);
  const std::string type = fields.String("type");
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    CheckTokenAndId(&fields, "sep");
    CheckTokenAndId(&fields, "cls");
    if (type == "RobertaProcessing") {
      fields.Bool("trim_offsets");
      fields.Bool("add_prefix_space");
    }
  } else if (type == "ByteLevel") {
    fields.Bool("add_prefix_space");
    fields.Bool("trim_offsets");
    fields.Bool("use_regex", true);
  } else if (type == "TemplateProcessing") {
    CM_RETURN_IF_ERROR(CheckTemplate(fields.Any("single"), fields.Place("single")));
    CM_RETURN_IF_ERROR(CheckTemplate(fields.Any("pair"), fields.Place("pair")));
    CM_RETURN_IF_ERROR(CheckSpecialTokens(fields.Any("special_tokens"), fields.Place("special_tokens")));
  } else if (type == "Sequence") {
    int number = 0;
    for (const Json& part : fields.Array("processors")) CM_RETURN_IF_ERROR(CheckPostProcessor(part, Cat(where, "/processors/", number++)));
  } else if (json.kind == Json::kObject && json.Find("type") != nullptr) {
    return Unknown(fields.Place("type"), Cat("the post-processor '", type, "' is not known"));
  }
  return fields.Done();
}

absl::Status CheckTruncation(const Json& json, const std::string& where) {
  Fields fields(json, where);
  const std::string direction = fields.String("direction", "Right"), strategy = fields.String("strategy");
  fields.Whole("max_length");
  fields.Whole("stride");
  if (direction != "Left" && direction != "Right") return Unknown(fields.Place("direction"), Cat("'", direction, "' is not known"));
  if (strategy != "LongestFirst" && strategy != "OnlyFirst" && strategy != "OnlySecond") {
    fields.Fail(Unknown(fields.Place("strategy"), Cat("'", strategy, "' is not known")));
  }
  return fields.Done();
}

absl::Status CheckPadding(const Json& json, const std::string& where) {
  Fields fields(json, where);
  const Json& strategy = fields.Any("strategy");
  const bool fixed = strategy.kind == Json::kObject && strategy.names.size() == 1 && strategy.names[0] == "Fixed" && WholeNumber(strategy.items[0]).has_value();
  if (!fixed && !(strategy.kind == Json::kString && strategy.text == "BatchLongest")) {
    fields.Fail(Unknown(fields.Place("strategy"), "must be \"BatchLongest\" or {\"Fixed\": …}"));
  }
  const std::string direction = fields.String("direction");
  if (direction != "Left" && direction != "Right") fields.Fail(Unknown(fields.Place("direction"), Cat("'", direction, "' is not known")));
  fields.Whole("pad_to_multiple_of", 0);
  fields.Whole("pad_id");
  fields.Whole("pad_type_id");
  fields.String("pad_token");
  return fields.Done();
}

}  // namespace countermark::hf
