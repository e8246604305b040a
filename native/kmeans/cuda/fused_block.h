// The kernels of the fused path, one function for what one block of threads does; kernels.cu launches them,
// and test/native/kmeans_blocks_test.cc runs them on the CPU. One file, although a long one: they are the
// steps of one iteration.
//
// A problem is one start of one data set; all problems of a batch run in the same launches. An iteration is:
// clear_block, assign_block over all points, refill_block, move_block over clusters, decide_block. Sums of
// clusters are added up in fixed point: integers add to the same in any order, so the result does not depend
// on which block comes first.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "kmeans/cuda/team.h"

namespace fltac::cuda {

constexpr int kBlockPoints = 256;     // points that a block assigns and adds up
constexpr int kSharedPoints = 128;    // of them that shared memory holds at once
constexpr int kSharedCentroids = 64;  // that they are compared with there
constexpr int kSharedColumns = 16;    // of both
constexpr int kThreadPoints = 8;      // a thread's share of a tile
constexpr int kThreadCentroids = 4;
constexpr int kPointGroups = kSharedPoints / kThreadPoints;
constexpr int kCentroidGroups = kSharedCentroids / kThreadCentroids;
static_assert(kPointGroups * kCentroidGroups == kThreads, "a tile is shared out to all threads");
static_assert(kBlockPoints == kThreads, "each thread ranks one point");

struct ProblemState {
  int64_t changed;   // labels that the last assignment changed
  int64_t refilled;  // empty clusters that were given a point since
  int64_t reseeded;  // the same, over all iterations
  int64_t iterations;
  double tolerance;  // least sum of squared moves to go on
  double inertia;
  int32_t used;  // clusters
  int32_t done;
};

// All arrays are in device memory. Coordinates are in the frame (tile.h).
struct FusedArgs {
  int64_t points, columns, clusters;
  int64_t problems, starts;  // starts of each data set; problems counts all
  const float* x;            // [problems / starts][points][columns]
  const float* norm2;        // [problems / starts][points] squared lengths
  float* centroids;          // [problems][clusters][columns]
  float* half_norms;         // [problems][clusters] |c|^2 / 2; infinite for clusters that are not used
  int32_t* labels;           // [problems][points]
  float* distances;          // [problems][points] squared, to the nearest centroid
  int64_t* sums;             // [problems][clusters][columns] in steps
  int64_t* counts;           // [problems][clusters]
  double* moved;             // [problems][clusters] squared moves
  ProblemState* states;      // [problems]
  int32_t* unfinished;       // number of problems that are not done
  double steps;              // fixed-point steps in 1; a power of two
  // In the last assignment only problems whose centroids have moved since their labels were found take part.
  bool last;
};

FLTAC_HD inline int64_t to_steps(float value, double steps) {
  const double scaled = static_cast<double>(value) * steps;
  return static_cast<int64_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
}

FLTAC_HD inline int32_t bits_of(float value) {
  int32_t bits = 0;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

// The largest power of two so that `points` values of at most `most` each add up to less than 2^62 steps.
inline double steps_for(int64_t points, float most) {
  const int bits = std::ilogb(static_cast<double>(points)) + 1;
  const int magnitude = most > 0 ? std::ilogb(most) + 1 : 0;
  return std::ldexp(1.0, 62 - bits - magnitude);
}

FLTAC_HD inline bool takes_part(const FusedArgs& args, int64_t problem) {
  const ProblemState& state = args.states[problem];
  return args.last ? state.changed + state.refilled > 0 : state.done == 0;
}

// --- assignment

struct AssignShared {
  // Columns first. Rows are padded so that threads which store one column each do not all meet in one bank.
  float x[kSharedColumns][kSharedPoints + 4];
  float c[kSharedColumns][kSharedCentroids + 4];
  float best[kCentroidGroups][kSharedPoints];
  int32_t label_of_best[kCentroidGroups][kSharedPoints];
  int32_t labels[kBlockPoints];  // -1 beyond the last point
  int32_t order[kBlockPoints];   // the block's points by label
  int32_t changed;
};

struct AssignRegisters {
  float sum[kThreadPoints][kThreadCentroids];
  float best[kThreadPoints];
  int32_t label[kThreadPoints];
};

// One data set's problem as a block sees it.
struct Problem {
  const float* x;
  const float* centroids;
  const float* half_norms;
};

FLTAC_HD inline Problem problem_of(const FusedArgs& args, int64_t problem) {
  return {args.x + problem / args.starts * args.points * args.columns,
          args.centroids + problem * args.clusters * args.columns, args.half_norms + problem * args.clusters};
}

// Brings columns [column, column + kSharedColumns) of a tile of points and one of centroids into shared
// memory; zeros beyond the ends.
FLTAC_HD inline void load_step(const FusedArgs& args, const Problem& problem, int64_t first_point,
                               int64_t first_centroid, int64_t column, int t, AssignShared& shared) {
  FLTAC_UNROLL
  for (int i = 0; i < kSharedPoints * kSharedColumns / kThreads; ++i) {
    const int at = t + i * kThreads;
    const int64_t point = first_point + at / kSharedColumns, c = column + at % kSharedColumns;
    const bool inside = point < args.points && c < args.columns;
    shared.x[at % kSharedColumns][at / kSharedColumns] = inside ? problem.x[point * args.columns + c] : 0.0f;
  }
  FLTAC_UNROLL
  for (int i = 0; i < kSharedCentroids * kSharedColumns / kThreads; ++i) {
    const int at = t + i * kThreads;
    const int64_t centroid = first_centroid + at / kSharedColumns, c = column + at % kSharedColumns;
    const bool inside = centroid < args.clusters && c < args.columns;
    shared.c[at % kSharedColumns][at / kSharedColumns] =
        inside ? problem.centroids[centroid * args.columns + c] : 0.0f;
  }
}

FLTAC_HD inline void multiply_step(int t, const AssignShared& shared, AssignRegisters& registers) {
  const int point = t / kCentroidGroups * kThreadPoints, centroid = t % kCentroidGroups * kThreadCentroids;
  FLTAC_UNROLL
  for (int column = 0; column < kSharedColumns; ++column) {
    FLTAC_UNROLL
    for (int p = 0; p < kThreadPoints; ++p) {
      FLTAC_UNROLL
      for (int c = 0; c < kThreadCentroids; ++c)
        registers.sum[p][c] += shared.x[column][point + p] * shared.c[column][centroid + c];
    }
  }
}

// Compares the products of a finished tile of centroids with the best so far, lower numbers first.
FLTAC_HD inline void keep_nearer(const FusedArgs& args, const Problem& problem, int64_t first_centroid, int t,
                                 AssignRegisters& registers) {
  FLTAC_UNROLL
  for (int c = 0; c < kThreadCentroids; ++c) {
    const int64_t centroid = first_centroid + t % kCentroidGroups * kThreadCentroids + c;
    if (centroid >= args.clusters) continue;
    const float half_norm = problem.half_norms[centroid];
    FLTAC_UNROLL
    for (int p = 0; p < kThreadPoints; ++p) {
      const float distance = half_norm - registers.sum[p][c];
      if (!(distance < registers.best[p])) continue;
      registers.best[p] = distance;
      registers.label[p] = static_cast<int32_t>(centroid);
    }
  }
}

// The nearest centroid of each of kSharedPoints points: shared.best and shared.label_of_best, one line for
// each group of centroids.
template <typename Team>
FLTAC_HD void find_nearest(Team& team, const FusedArgs& args, const Problem& problem, int64_t first_point) {
  AssignShared& shared = team.shared();
  team.each([&](int t) {
    AssignRegisters& registers = team.registers(t);
    FLTAC_UNROLL
    for (int p = 0; p < kThreadPoints; ++p) {
      registers.best[p] = INFINITY;
      registers.label[p] = 0;
    }
  });
  for (int64_t centroid = 0; centroid < args.clusters; centroid += kSharedCentroids) {
    team.each([&](int t) {
      AssignRegisters& registers = team.registers(t);
      FLTAC_UNROLL
      for (int p = 0; p < kThreadPoints; ++p) {
        FLTAC_UNROLL
        for (int c = 0; c < kThreadCentroids; ++c) registers.sum[p][c] = 0.0f;
      }
    });
    for (int64_t column = 0; column < args.columns; column += kSharedColumns) {
      team.each([&](int t) { load_step(args, problem, first_point, centroid, column, t, shared); });
      team.each([&](int t) { multiply_step(t, shared, team.registers(t)); });
    }
    team.each([&](int t) { keep_nearer(args, problem, centroid, t, team.registers(t)); });
  }
  team.each([&](int t) {
    const AssignRegisters& registers = team.registers(t);
    FLTAC_UNROLL
    for (int p = 0; p < kThreadPoints; ++p) {
      const int point = t / kCentroidGroups * kThreadPoints + p;
      shared.best[t % kCentroidGroups][point] = registers.best[p];
      shared.label_of_best[t % kCentroidGroups][point] = registers.label[p];
    }
  });
}

// Writes the label and distance of point `first_point + t`.
template <typename Team>
FLTAC_HD void settle_point(const FusedArgs& args, int64_t problem, int64_t first_point, int block_offset,
                           int t, AssignShared& shared) {
  const int64_t point = first_point + t;
  shared.labels[block_offset + t] = -1;
  if (point >= args.points) return;
  float best = shared.best[0][t];
  int32_t label = shared.label_of_best[0][t];
  for (int g = 1; g < kCentroidGroups; ++g) {
    const float other = shared.best[g][t];
    const int32_t other_label = shared.label_of_best[g][t];
    if (other < best || (other == best && other_label < label)) {
      best = other;
      label = other_label;
    }
  }
  const float squared = args.norm2[problem / args.starts * args.points + point] + 2.0f * best;
  args.distances[problem * args.points + point] = squared > 0.0f ? squared : 0.0f;
  int32_t& kept = args.labels[problem * args.points + point];
  if (kept != label) Team::add(&shared.changed, 1);
  kept = label;
  shared.labels[block_offset + t] = label;
}

// Adds the block's points to the sums of their clusters. Points are walked through by label, so that those of
// one cluster are added up in a register and reach memory once.
template <typename Team>
FLTAC_HD void add_points(Team& team, const FusedArgs& args, int64_t problem, int64_t first_point) {
  AssignShared& shared = team.shared();
  const float* x = problem_of(args, problem).x;
  int64_t* counts = args.counts + problem * args.clusters;
  int64_t* sums = args.sums + problem * args.clusters * args.columns;
  team.each([&](int t) {
    const int32_t label = shared.labels[t];
    int rank = 0;
    for (int other = 0; other < kBlockPoints; ++other) {
      const int32_t its = shared.labels[other];
      rank += its < label || (its == label && other < t) ? 1 : 0;
    }
    shared.order[rank] = t;
    if (label >= 0) Team::add(&counts[label], 1);
  });
  // Threads side by side take columns; where rows are short, several walkers share the points.
  int width = 1;
  while (width < args.columns && width < kThreads) width *= 2;
  const int walkers = kThreads / width, share = kBlockPoints / walkers;
  team.each([&](int t) {
    for (int64_t column = t % width; column < args.columns; column += width) {
      int32_t cluster = -1;
      int64_t run = 0;
      for (int at = t / width * share; at < (t / width + 1) * share; ++at) {
        const int place = shared.order[at];
        const int32_t label = shared.labels[place];
        if (label < 0) continue;
        if (label != cluster && cluster >= 0) {
          Team::add(&sums[cluster * args.columns + column], run);
          run = 0;
        }
        cluster = label;
        run += to_steps(x[(first_point + place) * args.columns + column], args.steps);
      }
      if (cluster >= 0) Team::add(&sums[cluster * args.columns + column], run);
    }
  });
}

// Points [block * kBlockPoints, ...) of a problem. Needs a Team of AssignShared and AssignRegisters.
template <typename Team>
FLTAC_HD void assign_block(Team& team, const FusedArgs& args, int64_t block, int64_t problem) {
  if (!takes_part(args, problem)) return;
  AssignShared& shared = team.shared();
  const Problem seen = problem_of(args, problem);
  const int64_t first = block * kBlockPoints;
  team.each([&](int t) {
    if (t == 0) shared.changed = 0;
  });
  for (int offset = 0; offset < kBlockPoints; offset += kSharedPoints) {
    find_nearest(team, args, seen, first + offset);
    team.each([&](int t) {
      if (t < kSharedPoints) settle_point<Team>(args, problem, first + offset, offset, t, shared);
    });
  }
  add_points(team, args, problem, first);
  team.each([&](int t) {
    if (t == 0 && shared.changed > 0)
      Team::add(&args.states[problem].changed, static_cast<int64_t>(shared.changed));
  });
}

// --- reductions

struct ReduceShared {
  double a[kThreads], b[kThreads];
  int64_t index[kThreads];
  int32_t found;
};
struct NoRegisters {};

// Sums of shared.a and shared.b over all threads end up in the first element of each.
template <typename Team>
FLTAC_HD void sum_up(Team& team) {
  ReduceShared& shared = team.shared();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    team.each([&](int t) {
      if (t >= half) return;
      shared.a[t] += shared.a[t + half];
      shared.b[t] += shared.b[t + half];
    });
  }
}

// --- preparation

// Moves one row of x to the frame, in place: scale x - shift. Sets its squared length, and raises `most` to
// the largest absolute value, as the bits of a float: those of numbers that are not negative are in their
// order.
template <typename Team>
FLTAC_HD void frame_block(Team& team, float* row, int64_t columns, float scale, const float* shift,
                          float* norm2, int32_t* most) {
  ReduceShared& shared = team.shared();
  team.each([&](int t) {
    float largest = 0;
    shared.a[t] = 0;
    shared.b[t] = 0;
    for (int64_t column = t; column < columns; column += kThreads) {
      const float value = scale * row[column] - shift[column];
      row[column] = value;
      shared.a[t] += static_cast<double>(value) * static_cast<double>(value);
      largest = fmaxf(largest, fabsf(value));
    }
    Team::raise(most, bits_of(largest));
  });
  sum_up(team);
  team.each([&](int t) {
    if (t == 0) *norm2 = static_cast<float>(shared.a[0]);
  });
}

// --- empty clusters, means, convergence

// The farthest point (the first of equals) that shares its cluster with another and does not lie at its
// centroid: shared.index[0], or -1.
template <typename Team>
FLTAC_HD void find_farthest(Team& team, const FusedArgs& args, int64_t problem) {
  ReduceShared& shared = team.shared();
  const float* distances = args.distances + problem * args.points;
  const int32_t* labels = args.labels + problem * args.points;
  const int64_t* counts = args.counts + problem * args.clusters;
  team.each([&](int t) {
    shared.a[t] = 0;
    shared.index[t] = -1;
    for (int64_t i = t; i < args.points; i += kThreads) {
      if (static_cast<double>(distances[i]) <= shared.a[t] || counts[labels[i]] < 2) continue;
      shared.a[t] = static_cast<double>(distances[i]);
      shared.index[t] = i;
    }
  });
  for (int half = kThreads / 2; half > 0; half /= 2) {
    team.each([&](int t) {
      if (t >= half) return;
      const int64_t mine = shared.index[t], other = shared.index[t + half];
      const bool better =
          shared.a[t + half] > shared.a[t] || (shared.a[t + half] == shared.a[t] && other < mine);
      if (other < 0 || (mine >= 0 && !better)) return;
      shared.a[t] = shared.a[t + half];
      shared.index[t] = other;
    });
  }
}

// Gives each empty cluster of a problem a point.
template <typename Team>
FLTAC_HD void refill_block(Team& team, const FusedArgs& args, int64_t problem) {
  if (!takes_part(args, problem)) return;
  ReduceShared& shared = team.shared();
  ProblemState& state = args.states[problem];
  int64_t* counts = args.counts + problem * args.clusters;
  int64_t* sums = args.sums + problem * args.clusters * args.columns;
  const int32_t used = state.used;
  team.each([&](int t) {
    if (t == 0) shared.found = 0;
  });
  team.each([&](int t) {
    for (int32_t c = t; c < used; c += kThreads) {
      if (counts[c] == 0) Team::add(&shared.found, 1);
    }
  });
  if (shared.found == 0) return;
  for (int32_t c = 0; c < used; ++c) {
    if (counts[c] != 0) continue;
    find_farthest(team, args, problem);
    const int64_t point = shared.index[0];
    if (point < 0) return;
    const int32_t from = args.labels[problem * args.points + point];
    const float* x = problem_of(args, problem).x + point * args.columns;
    team.each([&](int t) {
      for (int64_t column = t; column < args.columns; column += kThreads) {
        const int64_t steps = to_steps(x[column], args.steps);
        sums[from * args.columns + column] -= steps;
        sums[c * args.columns + column] += steps;
      }
    });
    team.each([&](int t) {
      if (t != 0) return;
      counts[from] -= 1;
      counts[c] = 1;
      args.labels[problem * args.points + point] = c;
      args.distances[problem * args.points + point] = 0;
      state.refilled += 1;
      state.reseeded += 1;
    });
  }
}

// Moves one centroid to the mean of its cluster, and clears the sums for the next iteration.
template <typename Team>
FLTAC_HD void move_block(Team& team, const FusedArgs& args, int64_t cluster, int64_t problem) {
  if (args.states[problem].done != 0) return;
  ReduceShared& shared = team.shared();
  const int64_t at = problem * args.clusters + cluster;
  float* centroid = args.centroids + at * args.columns;
  int64_t* sums = args.sums + at * args.columns;
  const int64_t count = args.counts[at];
  team.each([&](int t) {
    shared.a[t] = 0;
    shared.b[t] = 0;
    for (int64_t column = t; column < args.columns && count > 0; column += kThreads) {
      const double mean = static_cast<double>(sums[column]) / args.steps / static_cast<double>(count);
      const double move = mean - static_cast<double>(centroid[column]);
      const float rounded = static_cast<float>(mean);
      centroid[column] = rounded;
      sums[column] = 0;
      shared.a[t] += move * move;
      shared.b[t] += static_cast<double>(rounded) * static_cast<double>(rounded);
    }
  });
  sum_up(team);
  team.each([&](int t) {
    if (t != 0) return;
    args.moved[at] = shared.a[0];
    if (count > 0) args.half_norms[at] = static_cast<float>(shared.b[0] / 2);
    args.counts[at] = 0;
  });
}

// Sees whether a problem has ended.
template <typename Team>
FLTAC_HD void decide_block(Team& team, const FusedArgs& args, int64_t problem) {
  ProblemState& state = args.states[problem];
  if (state.done != 0) return;
  ReduceShared& shared = team.shared();
  team.each([&](int t) {
    shared.a[t] = 0;
    shared.b[t] = 0;
    for (int64_t c = t; c < args.clusters; c += kThreads)
      shared.a[t] += args.moved[problem * args.clusters + c];
  });
  sum_up(team);
  team.each([&](int t) {
    if (t != 0) return;
    state.iterations += 1;
    if (state.changed == 0 || shared.a[0] <= state.tolerance) {
      state.done = 1;
      Team::add(args.unfinished, -1);
    }
  });
}

// Clears what the next assignment counts; not before, since whether a problem takes part in the last
// assignment depends on it.
template <typename Team>
FLTAC_HD void clear_block(Team& team, const FusedArgs& args, int64_t problem) {
  if (args.states[problem].done != 0) return;
  team.each([&](int t) {
    if (t != 0) return;
    args.states[problem].changed = 0;
    args.states[problem].refilled = 0;
  });
}

// The sum of the distances of a problem.
template <typename Team>
FLTAC_HD void total_block(Team& team, const FusedArgs& args, int64_t problem) {
  ReduceShared& shared = team.shared();
  team.each([&](int t) {
    shared.a[t] = 0;
    shared.b[t] = 0;
    for (int64_t i = t; i < args.points; i += kThreads)
      shared.a[t] += static_cast<double>(args.distances[problem * args.points + i]);
  });
  sum_up(team);
  team.each([&](int t) {
    if (t == 0) args.states[problem].inertia = shared.a[0];
  });
}

}  // namespace fltac::cuda
