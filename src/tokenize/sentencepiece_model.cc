// No Abseil header here, not even through another: see sentencepiece_model.h.
#include "src/tokenize/sentencepiece_model.h"

#include <exception>

#include <sentencepiece_processor.h>

#include "src/tokenize/charsmap_check.h"

namespace countermark {

SentencePieceModel::SentencePieceModel() : processor_(std::make_unique<sentencepiece::SentencePieceProcessor>()) {}
SentencePieceModel::~SentencePieceModel() = default;

std::string SentencePieceModel::Load(std::string_view serialized) {
  if (std::string error = CheckCharsmaps(serialized); !error.empty()) return error;
  try {
    const auto status = processor_->LoadFromSerializedProto(serialized);
    if (!status.ok()) return status.ToString();
    const int pieces = processor_->GetPieceSize();
    if (pieces <= 0) return "it has no pieces";
    is_byte_.resize(static_cast<size_t>(pieces));
    for (int id = 0; id < pieces; ++id) is_byte_[static_cast<size_t>(id)] = processor_->IsByte(id);
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

std::string SentencePieceModel::Encode(std::string_view text, std::vector<uint32_t>* ids, std::vector<uint32_t>* ends) const {
  ids->clear();
  sentencepiece::ImmutableSentencePieceText pieces;
  const auto status = processor_->Encode(text, pieces.mutable_proto());
  if (!status.ok()) return status.ToString();
  const size_t count = pieces.pieces_size();
  ids->resize(count);
  ends->resize(count);
  for (size_t i = 0; i < count; ++i) {
    const auto piece = pieces.pieces(static_cast<int>(i));
    (*ids)[i] = piece.id();
    (*ends)[i] = piece.end();
  }
  return "";
}

std::string SentencePieceModel::Decode(std::span<const uint32_t> ids) const {
  std::vector<int> known;
  known.reserve(ids.size());
  for (uint32_t id : ids) {
    if (id < size()) known.push_back(static_cast<int>(id));
  }
  std::string text;
  return processor_->Decode(known, &text).ok() ? text : std::string();
}

}  // namespace countermark
