#include "lora/lora.h"

#include <ATen/Parallel.h>

#include <algorithm>

namespace fltac {
namespace {

using kernels::RowsOfFour;

// Rows are taken in blocks of four, so that a factor's row is read once for four of them, and in pieces of
// this many, each with gradients of its own, which are then added up in order: the bits depend on no thread.
constexpr int64_t kBlock = 4;
constexpr int64_t kPieceRows = 128;

// Rows [begin, end) of one job, by its place in RowSpace::jobs.
struct Piece {
  size_t job;
  int64_t begin, end;
};

std::vector<Piece> pieces_of(const RowSpace& space) {
  std::vector<Piece> pieces;
  for (size_t j = 0; j < space.jobs.size(); ++j) {
    const JobRows& job = space.jobs[j];
    for (int64_t begin = job.begin; begin < job.end; begin += kPieceRows) {
      pieces.push_back({j, begin, std::min(job.end, begin + kPieceRows)});
    }
  }
  return pieces;
}

// Runs body(piece number, scratch) for each piece.
template <typename Scratch, typename Body>
void for_pieces(size_t count, const LoraProduct& product, const Body& body) {
  at::parallel_for(0, static_cast<int64_t>(count), 1, [&](int64_t begin, int64_t end) {
    Scratch scratch(product);
    for (int64_t p = begin; p < end; ++p) body(static_cast<size_t>(p), scratch);
  });
}

// The rows of a block, the last one again in the place of those beyond the end: their factors are 0.
RowsOfFour block_rows(const float* first, int64_t stride, int64_t rows) {
  const auto row = [&](int64_t r) { return first + std::min(r, rows - 1) * stride; };
  return {row(0), row(1), row(2), row(3)};
}

// B of each job as [rank, outputs], whose rows are what the kernels want.
std::vector<float> transposed_b(const LoraProduct& product) {
  const int64_t rank = product.bank.spec().rank, outputs = product.outputs;
  std::vector<float> all(product.space.jobs.size() * static_cast<size_t>(rank * outputs));
  float* to = all.data();
  for (const JobRows& job : product.space.jobs) {
    const float* b = product.bank.row(job.bank_row) + product.slot.b_offset;
    for (int64_t k = 0; k < rank; ++k) {
      for (int64_t o = 0; o < outputs; ++o) *to++ = b[o * rank + k];
    }
  }
  return all;
}

// The dropped rows of a block, with the words that dropped them.
class DroppedRows {
 public:
  explicit DroppedRows(const LoraProduct& product) : product_(product) {
    if (!product.plan.rate.active()) return;
    values_.resize(static_cast<size_t>(kBlock * product.inputs));
    words_.resize(static_cast<size_t>(kBlock * padded_words(product.inputs)));
  }

  // dropout(x) for `rows` rows from row `first`; x itself where nothing is dropped.
  RowsOfFour draw(const float* x, int64_t first, int64_t rows) {
    const int64_t n = product_.inputs;
    if (!product_.plan.rate.active()) return block_rows(x + first * n, n, rows);
    for (int64_t r = 0; r < rows; ++r) {
      kernels::draw_row(x + (first + r) * n, product_.plan, first + r, n, words(r), values_.data() + r * n);
    }
    return block_rows(values_.data(), n, rows);
  }

  // dx += dropout(gradient) for row r of the block.
  void add_gradient(int64_t r, const float* gradient, float* dx) {
    if (product_.plan.rate.active()) {
      kernels::add_masked_row(gradient, product_.plan.rate, words(r), product_.inputs, dx);
    } else {
      kernels::add_row(gradient, product_.inputs, dx);
    }
  }

 private:
  uint16_t* words(int64_t r) { return words_.data() + r * padded_words(product_.inputs); }

  const LoraProduct& product_;
  std::vector<float> values_;
  std::vector<uint16_t> words_;
};

// y += factors [rank] applied to the rows of a matrix [rank, n].
void add_combination(const float* factors, const float* matrix, int64_t rank, int64_t n, float* y) {
  for (int64_t k = 0; k < rank; k += kBlock) {
    const int64_t count = std::min(kBlock, rank - k);
    float some[kBlock] = {};
    std::copy_n(factors + k, count, some);
    kernels::combine(block_rows(matrix + k * n, n, count), some, n, y);
  }
}

// What one piece adds to the gradients of its job: A's [rank, inputs], then B's transposed [rank, outputs].
class Partials {
 public:
  Partials(size_t pieces, const LoraProduct& product)
      : split_(product.bank.spec().rank * product.inputs),
        size_(split_ + product.bank.spec().rank * product.outputs),
        values_(pieces * static_cast<size_t>(size_)) {}

  float* a(size_t piece) { return values_.data() + static_cast<int64_t>(piece) * size_; }
  float* b(size_t piece) { return a(piece) + split_; }

  // Adds what comes after a job's first piece to it.
  void add_up(size_t first, size_t last) {
    at::parallel_for(0, size_, 4096, [&](int64_t begin, int64_t end) {
      for (size_t p = first + 1; p < last; ++p) kernels::add_row(a(p) + begin, end - begin, a(first) + begin);
    });
  }

 private:
  int64_t split_, size_;
  std::vector<float> values_;
};

struct BackwardScratch {
  explicit BackwardScratch(const LoraProduct& product)
      : dropped(product),
        dz(static_cast<size_t>(kBlock * product.bank.spec().rank)),
        gradient(static_cast<size_t>(product.inputs)) {}
  DroppedRows dropped;
  std::vector<float> dz;        // [4, rank]
  std::vector<float> gradient;  // of one dropped row
};

// The pointers of a backward product.
struct BackwardBuffers {
  const float *x, *dy, *z;
  int64_t dy_stride;
  float* dx;
};

// With s the scaling: dz = s dy B, dB^T += s z^T dy, dA += dz^T dropout(x), dx += dropout'(dz A), for up to
// four rows.
void backward_block(const LoraProduct& product, const BackwardBuffers& on, const float* a, const float* bt,
                    int64_t first, int64_t rows, BackwardScratch& scratch, float* da, float* dbt) {
  const int64_t rank = product.bank.spec().rank, inputs = product.inputs, outputs = product.outputs;
  const float scaling = product.bank.spec().scaling();
  const RowsOfFour dy = block_rows(on.dy + first * on.dy_stride, on.dy_stride, rows);
  const RowsOfFour xd = scratch.dropped.draw(on.x, first, rows);
  for (int64_t k = 0; k < rank; ++k) {
    float dz[kBlock], z[kBlock] = {};
    kernels::dots(dy, bt + k * outputs, outputs, dz);
    for (int64_t r = 0; r < kBlock; ++r) {
      dz[r] = r < rows ? dz[r] * scaling : 0.0f;
      if (r < rows) z[r] = on.z[(first + r) * rank + k] * scaling;
      scratch.dz[static_cast<size_t>(r * rank + k)] = dz[r];
    }
    kernels::combine(dy, z, outputs, dbt + k * outputs);
    kernels::combine(xd, dz, inputs, da + k * inputs);
  }
  if (!on.dx) return;
  for (int64_t r = 0; r < rows; ++r) {
    std::fill(scratch.gradient.begin(), scratch.gradient.end(), 0.0f);
    add_combination(scratch.dz.data() + r * rank, a, rank, inputs, scratch.gradient.data());
    scratch.dropped.add_gradient(r, scratch.gradient.data(), on.dx + (first + r) * inputs);
  }
}

}  // namespace

void GradientSink::take_all(const std::vector<size_t>& jobs, const AdapterRows&, int64_t offset,
                            const at::Tensor& gradients) {
  const at::Tensor host = gradients.to(at::kCPU).contiguous();
  const int64_t n = host.numel() / std::max<int64_t>(1, host.size(0));
  for (size_t i = 0; i < jobs.size(); ++i) {
    take(jobs[i], offset, host.const_data_ptr<float>() + static_cast<int64_t>(i) * n, n);
  }
}

void lora_forward(const LoraProduct& product, const float* x, float* y, int64_t y_stride, float* z) {
  const int64_t rank = product.bank.spec().rank, inputs = product.inputs, outputs = product.outputs;
  const float scaling = product.bank.spec().scaling();
  const std::vector<Piece> pieces = pieces_of(product.space);
  const std::vector<float> all_b = transposed_b(product);
  for_pieces<DroppedRows>(pieces.size(), product, [&](size_t p, DroppedRows& dropped) {
    const Piece& piece = pieces[p];
    const float* a = product.bank.row(product.space.jobs[piece.job].bank_row) + product.slot.a_offset;
    const float* bt = all_b.data() + static_cast<int64_t>(piece.job) * rank * outputs;
    std::vector<float> scaled(static_cast<size_t>(rank));
    for (int64_t first = piece.begin; first < piece.end; first += kBlock) {
      const int64_t rows = std::min(kBlock, piece.end - first);
      const RowsOfFour xd = dropped.draw(x, first, rows);
      for (int64_t k = 0; k < rank; ++k) {
        float sums[kBlock];
        kernels::dots(xd, a + k * inputs, inputs, sums);
        for (int64_t r = 0; r < rows; ++r) z[(first + r) * rank + k] = sums[r];
      }
      for (int64_t r = first; r < first + rows; ++r) {
        std::transform(z + r * rank, z + (r + 1) * rank, scaled.begin(),
                       [&](float value) { return value * scaling; });
        add_combination(scaled.data(), bt, rank, outputs, y + r * y_stride);
      }
    }
  });
}

void lora_backward(const LoraProduct& product, const float* x, const float* dy, int64_t dy_stride,
                   const float* z, float* dx, GradientSink& sink) {
  const int64_t rank = product.bank.spec().rank, inputs = product.inputs, outputs = product.outputs;
  const std::vector<Piece> pieces = pieces_of(product.space);
  const std::vector<float> all_b = transposed_b(product);
  const BackwardBuffers on{x, dy, z, dy_stride, dx};
  Partials partials(pieces.size(), product);
  for_pieces<BackwardScratch>(pieces.size(), product, [&](size_t p, BackwardScratch& scratch) {
    const Piece& piece = pieces[p];
    const float* a = product.bank.row(product.space.jobs[piece.job].bank_row) + product.slot.a_offset;
    const float* bt = all_b.data() + static_cast<int64_t>(piece.job) * rank * outputs;
    for (int64_t first = piece.begin; first < piece.end; first += kBlock) {
      backward_block(product, on, a, bt, first, std::min(kBlock, piece.end - first), scratch, partials.a(p),
                     partials.b(p));
    }
  });
  std::vector<float> db(static_cast<size_t>(outputs * rank));
  for (size_t first = 0; first < pieces.size();) {
    size_t last = first + 1;
    while (last < pieces.size() && pieces[last].job == pieces[first].job) ++last;
    partials.add_up(first, last);
    const float* dbt = partials.b(first);
    for (int64_t o = 0; o < outputs; ++o) {
      for (int64_t k = 0; k < rank; ++k) db[static_cast<size_t>(o * rank + k)] = dbt[k * outputs + o];
    }
    const size_t job = pieces[first].job;
    sink.take(job, product.slot.a_offset, partials.a(first), rank * inputs);
    sink.take(job, product.slot.b_offset, db.data(), outputs * rank);
    first = last;
  }
}

}  // namespace fltac
