"""Bugs to plant in the CUDA kernels, one at a time. Every one must be noticed: by a wrong answer or a violation of
CUDA's rules on the model ("plain"), or by the race checker ("race")."""

from __future__ import annotations

from typing import NamedTuple


class Bug(NamedTuple):
    name: str
    noticed: str  # "plain" or "race"
    file: str  # in csrc/cuda
    right: str
    wrong: str
    format: str = "Float32"  # which shows it; one is enough, and quicker to compile


EACH_BIN = "    for (int i = static_cast<int>(threadIdx.x); i < used; i += static_cast<int>(blockDim.x)) {\n"

BUGS = (
    # ---- What threads do together.
    Bug(
        "last block: no fence before the ticket",
        "race",
        "together.h",
        "        __threadfence(); // for the whole block: the barrier comes before\n",
        "",
    ),
    Bug(
        "last block: no fence after the ticket",
        "race",
        "together.h",
        "? 1U : 0U;\n        __threadfence();",
        "? 1U : 0U;",
    ),
    Bug(
        "last block: no barrier before the ticket",
        "race",
        "together.h",
        "    GPU_SHARED(unsigned, last);\n    __syncthreads();\n",
        "    GPU_SHARED(unsigned, last);\n",
    ),
    Bug(
        "last block: no barrier after the ticket",
        "plain",
        "together.h",
        "    __syncthreads();\n    return last != 0;",
        "    return last != 0;",
    ),
    Bug("last block: off by one", "plain", "together.h", "== blocks - 1 ?", "== blocks - 2 ?"),
    Bug(
        "block's sum: no barrier before the second warp-wide step",
        "plain",
        "together.h",
        "    __syncthreads();\n    if (threadIdx.x < warp) {",
        "    if (threadIdx.x < warp) {",
    ),
    Bug(
        "warp's sum: one step too few", "plain", "together.h", "offset = warp / 2; offset", "offset = warp / 4; offset"
    ),
    Bug(
        "block's sum: counts a warp that isn't there",
        "plain",
        "together.h",
        "threadIdx.x < blockDim.x / warp)",
        "threadIdx.x <= blockDim.x / warp)",
    ),
    Bug("prefix sum: takes lane 0's neighbour", "plain", "together.h", "lane() >= offset ?", "lane() > offset ?"),
    Bug(
        "shuffle: the mask lacks a lane",
        "plain",
        "together.h",
        "__shfl_up_sync(all_lanes,",
        "__shfl_up_sync(0xfffffffeU,",
    ),
    Bug(
        "prefix sum of a block: no barrier before the totals are read",
        "plain",
        "together.h",
        "    __syncthreads();\n    for (unsigned i = 0; i < threadIdx.x / warp; ++i) {",
        "    for (unsigned i = 0; i < threadIdx.x / warp; ++i) {",
    ),
    # ---- draw
    Bug(
        "draw: sorts before all have loaded",
        "plain",
        "draw.h",
        "    __syncthreads();\n    sort_together",
        "    sort_together",
    ),
    Bug(
        "draw: no barrier between steps of the sort",
        "race",
        "draw.h",
        "                __syncthreads();\n",
        "                __syncwarp();\n",
    ),
    Bug("draw: a warp doesn't wait for its own lanes", "race", "draw.h", "                __syncwarp();\n", ""),
    Bug("draw: reads one loss too many", "plain", "draw.h", "i < drawn ? F::key", "i <= drawn ? F::key"),
    Bug("draw: NaN count off by one", "plain", "draw.h", "low = middle + 1;", "low = middle + 2;"),
    Bug("draw: tickets aren't reset", "plain", "draw.h", "    state.surveyed = 0;\n", ""),
    Bug(
        "draw: bracket above the key it should hold",
        "plain",
        "draw.h",
        "(rank < m ? rank : m) - 1]",
        "(rank < m ? rank : m)]",
    ),
    # ---- survey
    Bug(
        "survey: bins aren't cleared",
        "plain",
        "survey.h",
        "            job.bins[c][i] = 0;\n",
        "",
    ),
    Bug(
        "survey: candidates on the bracket's edge",
        "plain",
        "survey.h",
        "return key - low - 1 < room;",
        "return key - low - 1 <= room;",
    ),
    Bug("survey: counts the edge as below", "plain", "survey.h", "+= key < bracket.low ?", "+= key <= bracket.low ?"),
    Bug("survey: edges aren't counted", "plain", "survey.h", "n_closed != n_inside", "n_closed < n_inside"),
    Bug(
        "survey: minimum's count starts anew", "plain", "survey.h", "= least < tally.least ? 0 : tally.n_least;", "= 0;"
    ),
    Bug(
        "survey: minimum of a later tile",
        "plain",
        "survey.h",
        "if (least > tally.least) {",
        "if (least >= tally.least) {",
    ),
    Bug(
        "survey: negative zero", "plain", "survey.h", "std::bit_cast<float>(bits) + 0.0F", "std::bit_cast<float>(bits)"
    ),
    Bug("survey: negative NaN", "plain", "survey.h", "if (least > F::key_neg_inf && highest", "if (highest"),
    Bug("survey: slots taken twice", "plain", "survey.h", "next += all;", "next += all / 2;"),
    Bug("survey: unused slots stay as they were", "plain", "survey.h", "collectors[c].finish(brackets[c].low);", ""),
    Bug("survey: slots left behind stay as they were", "plain", "survey.h", "            finish(bracket.low);\n", ""),
    Bug(
        "survey: every lane reserves",
        "plain",
        "survey.h",
        "        if (lane() == 0) {\n            first = atomicAdd",
        "        {\n            first = atomicAdd",
    ),
    Bug(
        "survey: writes past the slots", "plain", "survey.h", "if (next + all <= capacity) {", "if (next <= capacity) {"
    ),
    Bug(
        "survey: overflow isn't noticed",
        "plain",
        "survey.h",
        "const bool fits = cut.reserved <= static_cast<Count>(capacity);",
        "const bool fits = true;",
    ),
    Bug(
        "survey: a warp gives up early",
        "plain",
        "survey.h",
        "if (!__any_sync(all_lanes, n != 0)) {",
        "if (n == 0) {",
    ),
    Bug(
        "survey: first NaN of one block",
        "plain",
        "survey.h",
        "atomicMin(&job.state->first_nan,",
        "atomicMax(&job.state->first_nan,",
    ),
    Bug("survey: padding counted as NaN", "plain", "survey.h", "i < (end < job.n ? end : job.n)", "i < end"),
    Bug(
        "survey: sees only its own block",
        "plain",
        "survey.h",
        "i < gridDim.x; i += blockDim.x) {\n        all",
        "i < 1; i += blockDim.x) {\n        all",
    ),
    Bug(
        "survey: rank on the lower edge",
        "plain",
        "survey.h",
        "} else if (rank <= inside) {",
        "} else if (rank < inside) {",
    ),
    Bug(
        "survey: rank on the upper edge",
        "plain",
        "survey.h",
        "} else if (rank <= high + seen.at_high) {",
        "} else if (rank < high + seen.at_high) {",
    ),
    Bug(
        "survey: a tile is left out",
        "plain",
        "vectors.h",
        "begin += gridDim.x * tile",
        "begin += (gridDim.x + 1) * tile",
    ),
    # ---- narrow
    Bug(
        "narrow: histogram isn't cleared",
        "plain",
        "narrow.h",
        "        histogram[i] = 0;\n",
        "",
    ),
    Bug(
        "narrow: no barrier after clearing",
        "plain",
        "narrow.h",
        "        histogram[i] = 0;\n    }\n    __syncthreads();\n",
        "        histogram[i] = 0;\n    }\n",
    ),
    Bug(
        "narrow: no barrier before the histogram is added up",
        "race",
        "narrow.h",
        "    });\n    __syncthreads();\n    for",
        "    });\n    for",
    ),
    Bug(
        "narrow: shared count isn't atomic",
        "race",
        "narrow.h",
        "atomicAdd(&histogram[static_cast<int>(static_cast<Bits>(k - first) >> shift)], 1U);",
        "histogram[static_cast<int>(static_cast<Bits>(k - first) >> shift)] += 1U;",
    ),
    Bug(
        "narrow: global count isn't atomic",
        "race",
        "narrow.h",
        "atomicAdd(bins + i, static_cast<Count>(here));",
        "bins[i] += here;",
    ),
    Bug("narrow: bin one too high", "plain", "narrow.h", "below + here < rank; here", "below + here <= rank; here"),
    Bug("narrow: keys beyond the range", "plain", "narrow.h", "if (k >= first && k <= last) {", "if (k >= first) {"),
    Bug("narrow: bins aren't left zero", "plain", "narrow.h", "        bins[i] = 0;\n    }\n}", "    }\n}"),
    Bug(
        "narrow: bins cleared while others read them",
        "race",
        "narrow.h",
        f"    __syncthreads();\n{EACH_BIN}        bins[i] = 0;",
        f"{EACH_BIN}        bins[i] = 0;",
    ),
    Bug(
        "narrow: rank isn't lowered", "plain", "narrow.h", "        cut.rank -= static_cast<std::int64_t>(below);\n", ""
    ),
    Bug(
        "narrow: known key's equals",
        "plain",
        "narrow.h",
        "sides.equal += k == key ? 1 : 0;",
        "sides.equal += k >= key ? 1 : 0;",
    ),
    Bug(
        "narrow: the range wraps around",
        "plain",
        "narrow.h",
        "static_cast<Bits>(cut.last - cut.first) < rest ?",
        "cut.last < static_cast<Bits>(cut.first + rest) ?",
        "BFloat16",
    ),
    # ---- write
    Bug(
        "write: weights before the plan",
        "plain",
        "write.h",
        "    __syncthreads();\n    if (weights.out == nullptr) {",
        "    if (weights.out == nullptr) {",
    ),
    Bug("write: threshold pruned", "plain", "write.h", "key == threshold ? at : pruned", "pruned"),
    Bug("write: recipients", "plain", "write.h", "key <= reach ? kept_recipient", "key < reach ? kept_recipient"),
    Bug(
        "write: refused losses",
        "plain",
        "write.h",
        "    if (!refused) {\n        const Targets<F>",
        "    if (true) {\n        const Targets<F>",
    ),
    Bug(
        "write: fused multiply-add",
        "plain",
        "write.h",
        "return keep * before + (key < threshold ? below : not_below);",
        "return std::fma(keep, before, key < threshold ? below : not_below);",
    ),
    Bug(
        "write: misaligned vectors",
        "plain",
        "write.h",
        "out_aligned = is_aligned(weights.out, vectors.lead);",
        "out_aligned = true;",
    ),
    Bug("write: beyond the last vector", "plain", "write.h", "if (losses.has(begin + j)) {", "if (begin + j >= 0) {"),
    Bug(
        "vectors: whole though cut short",
        "plain",
        "vectors.h",
        "first(vector) + width <= n;",
        "first(vector) + width <= n + 1;",
    ),
    # ---- launches
    Bug(
        "launch: one digit is left out",
        "plain",
        "reweight.cu",
        "(known ? 1 : digits<F>) && error == 0",
        "(known ? 1 : digits<F> - 1) && error == 0",
    ),
    Bug(
        "launch: a block too few for its digit",
        "plain",
        "reweight.cu",
        "{blocks, static_cast<unsigned>(job.cuts)}",
        "{blocks, 1U}",
    ),
)
