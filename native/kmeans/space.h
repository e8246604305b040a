// The spaces that rows can be clustered in. All that K-means needs of a space is the Gram matrix there.
#pragma once

#include <cstdint>
#include <vector>

#include "kmeans/gram.h"
#include "kmeans/rows.h"

namespace fltac {

struct SpaceOptions {
  // kParameters: the values of a row as they are, flattened LoRA factors A and B and the head included, as
  // published. kDeltaW: each pair of LoRA factors counts as the weight change B A that it stands for, which
  // is never formed:
  //   <B1 A1, B2 A2> = sum of (B1^T B2) o (A1 A2^T),
  // so the space does not see how a change is spelt: (S A, B S^-1) is the same point for any invertible S.
  // Tensors that are no LoRA factors (the head) count as they are.
  enum class Kind { kParameters, kDeltaW } kind = Kind::kParameters;
  // Divides each tensor (in kDeltaW each B A) by the standard deviation of its values around their means over
  // the rows, so that a value of any tensor weighs alike. Tensors without deviation count nothing.
  bool standardize = false;
  // Compares directions only: rows are scaled to length one, as seen from zero.
  bool cosine = false;

  bool plain() const { return kind == Kind::kParameters && !standardize && !cosine; }
};

// Whether a tensor is LoRA's A, its B, or neither, by PEFT's names; for a factor, `module` becomes what the
// names of A and B have in common.
enum class Factor { kA, kB, kNone };
Factor lora_factor(const std::string& name, std::string& module);

// Values of a row in a space.
int64_t feature_count(const RowSet& rows, const SpaceOptions& options);

// Forms the Gram matrix of a range of columns: gram_of_columns, or its CUDA counterpart.
using ColumnGram = std::vector<double> (*)(const RowSet&, ColumnRange, Origin, const Cancelled&);

// The Gram matrix [n, n] of the rows in a space, origin at the rows' mean (see gram.h for its accuracy).
//
// Accuracy of kDeltaW: products of double sums, |error of G_ij| <= (inputs + outputs) eps |A_i| |A_j| |B_i|
// |B_j| (Frobenius norms) summed over modules. For B that starts at zero the points are changes already, and
// no common offset has to cancel.
//
// Errors: Usage (a space that needs named tensors or LoRA pairs and finds none; a row of zeros with cosine),
// Shape (a pair whose shapes do not fit), NonFinite, Io, Aborted.
std::vector<double> feature_gram(const RowSet& rows, const SpaceOptions& options, ColumnGram column_gram,
                                 const Cancelled& cancelled);

}  // namespace fltac
