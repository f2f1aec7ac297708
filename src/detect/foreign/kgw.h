// Both seeding schemes of transformers' KGW watermark, scored: the formats hf-kgw and hf-kgw-selfhash.
//
// Of each position the scheme takes a seed from the tokens before it (lefthash: hashing_key · previous; selfhash: the least of products of a fixed table's
// entries, the current token's among them) and asks whether the current token is among the first int(greenlist_ratio · vocab_size) of a permutation drawn
// from the seed. Only the seed's low 32 bits reach the generator, so (seed's low bits, token) is the draw.
//
// Null: a draw is green with γ' = int(γV)/V; N distinct draws give P(Binomial(N, γ') ≥ hits). Draws under one seed are without replacement, so the count is a sum of
// hypergeometric variables, each of which is a sum of independent indicators (Vatutin and Mikhailov 1982). So is the whole, with mean Nγ', and by Hoeffding (1956) its upper
// tail from Nγ' + 1 on is at most the binomial's. Below, where nothing is evidence, the two differ by at most Σ (m − 1)/(V − 1), m the draws under each seed (Ehm 1991).
#ifndef COUNTERMARK_SRC_DETECT_FOREIGN_KGW_H_
#define COUNTERMARK_SRC_DETECT_FOREIGN_KGW_H_

#include <memory>

#include "countermark/detect/foreign/format.h"
#include "src/detect/foreign/config.h"

namespace countermark {

absl::StatusOr<std::unique_ptr<ForeignFormat>> MakeKgw(ConfigObject& config, bool selfhash);

}  // namespace countermark

#endif  // COUNTERMARK_SRC_DETECT_FOREIGN_KGW_H_
