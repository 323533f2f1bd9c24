"""Mutations of the CUDA kernels' source, planted one at a time. Each must be detected: by a wrong result or a violation
of CUDA's rules on the execution model ("plain"), or by the race detector ("race")."""

from __future__ import annotations

from typing import NamedTuple


class Bug(NamedTuple):
    name: str
    detected_by: str  # "plain" or "race"
    file: str  # in csrc/cuda
    original: str
    mutated: str
    format: str = "Float32"  # the losses' format that the kernels are compiled for; one compiles faster


EACH_BUCKET = "    for (int i = static_cast<int>(threadIdx.x); i < n_used; i += static_cast<int>(blockDim.x)) {\n"

BUGS = (
    # ---- Collective operations
    Bug(
        "last block: no fence before the ticket",
        "race",
        "reduce.h",
        "        __threadfence(); // releases the writes of the whole block: it has passed the barrier\n",
        "",
    ),
    Bug(
        "last block: no fence after the ticket",
        "race",
        "reduce.h",
        "? 1U : 0U;\n        __threadfence();",
        "? 1U : 0U;",
    ),
    Bug(
        "last block: no barrier before the ticket",
        "race",
        "reduce.h",
        "    GPU_SHARED(unsigned, last);\n    __syncthreads();\n",
        "    GPU_SHARED(unsigned, last);\n",
    ),
    Bug(
        "last block: no barrier after the ticket",
        "plain",
        "reduce.h",
        "    __syncthreads();\n    return last != 0;",
        "    return last != 0;",
    ),
    Bug("last block: off by one", "plain", "reduce.h", "== blocks - 1 ?", "== blocks - 2 ?"),
    Bug(
        "block reduction: no barrier before the second warp reduction",
        "plain",
        "reduce.h",
        "    __syncthreads();\n    if (threadIdx.x < warp_size) {",
        "    if (threadIdx.x < warp_size) {",
    ),
    Bug(
        "warp reduction: one step too few",
        "plain",
        "reduce.h",
        "offset = warp_size / 2; offset",
        "offset = warp_size / 4; offset",
    ),
    Bug(
        "block reduction: includes a nonexistent warp",
        "plain",
        "reduce.h",
        "threadIdx.x < blockDim.x / warp_size)",
        "threadIdx.x <= blockDim.x / warp_size)",
    ),
    Bug("prefix sum: skips the first neighbour", "plain", "reduce.h", "lane() >= offset ?", "lane() > offset ?"),
    Bug(
        "shuffle: mask lacks a lane",
        "plain",
        "reduce.h",
        "__shfl_up_sync(full_mask,",
        "__shfl_up_sync(0xfffffffeU,",
    ),
    Bug(
        "block prefix sum: no barrier before the totals are read",
        "plain",
        "reduce.h",
        "    __syncthreads();\n    total = 0;\n",
        "    total = 0;\n",
    ),
    # ---- sample_brackets
    Bug(
        "sample: no barrier before the sort",
        "plain",
        "sample.h",
        "    __syncthreads();\n    bitonic_sort",
        "    bitonic_sort",
    ),
    Bug(
        "sample: no barrier between steps of the sort",
        "race",
        "sample.h",
        "                __syncthreads();\n",
        "                __syncwarp();\n",
    ),
    Bug("sample: no warp barrier between steps of the sort", "race", "sample.h", "                __syncwarp();\n", ""),
    Bug("sample: reads one loss too many", "plain", "sample.h", "if (i < sample_size) {", "if (i <= sample_size) {"),
    Bug("sample: NaN count off by one", "plain", "sample.h", "low = middle + 1;", "low = middle + 2;"),
    Bug("sample: ticket not reset", "plain", "sample.h", "    state.scan_ticket = 0;\n", ""),
    Bug(
        "sample: bracket above its key",
        "plain",
        "sample.h",
        "(rank < n_numbers ? rank : n_numbers) - 1]",
        "(rank < n_numbers ? rank : n_numbers)]",
    ),
    # ---- scan_losses
    Bug(
        "scan: histograms not cleared",
        "plain",
        "scan.h",
        "            params.histograms[c][i] = 0;\n",
        "",
    ),
    Bug(
        "scan: key on the bracket's edge is a candidate",
        "plain",
        "scan.h",
        "return key - low - 1 < n_between;",
        "return key - low - 1 <= n_between;",
    ),
    Bug(
        "scan: key on the edge counted as below", "plain", "scan.h", "+= key < bracket.low ?", "+= key <= bracket.low ?"
    ),
    Bug("scan: edges not counted", "plain", "scan.h", "n_closed != n_inside", "n_closed < n_inside"),
    Bug(
        "scan: multiplicity of the minimum reset",
        "plain",
        "scan.h",
        "= minimum < thread_counts.minimum ? 0 : thread_counts.n_minimum;",
        "= 0;",
    ),
    Bug(
        "scan: minimum equal in a later tile",
        "plain",
        "scan.h",
        "if (minimum > thread_counts.minimum) {",
        "if (minimum >= thread_counts.minimum) {",
    ),
    Bug("scan: negative zero", "plain", "scan.h", "std::bit_cast<float>(bits) + 0.0F", "std::bit_cast<float>(bits)"),
    Bug("scan: negative NaN", "plain", "scan.h", "if (minimum > F::key_neg_inf && maximum", "if (maximum"),
    Bug("scan: slots used twice", "plain", "scan.h", "next += total;", "next += total / 2;"),
    Bug("scan: unused slots not padded at the end", "plain", "scan.h", "buffers[c].fill_unused(brackets[c].low);", ""),
    Bug(
        "scan: unused slots not padded before a new chunk",
        "plain",
        "scan.h",
        "            fill_unused(bracket.low);\n",
        "",
    ),
    Bug(
        "scan: every lane reserves slots",
        "plain",
        "scan.h",
        "        if (lane() == 0) {\n            first = atomicAdd",
        "        {\n            first = atomicAdd",
    ),
    Bug(
        "scan: writes past the capacity",
        "plain",
        "scan.h",
        "if (next + total <= capacity) {",
        "if (next <= capacity) {",
    ),
    Bug(
        "scan: overflow not detected",
        "plain",
        "scan.h",
        "const bool fits = selection.n_reserved <= static_cast<Count>(capacity);",
        "const bool fits = true;",
    ),
    Bug(
        "scan: lanes without candidates leave early",
        "plain",
        "scan.h",
        "if (!__any_sync(full_mask, n != 0)) {",
        "if (n == 0) {",
    ),
    Bug(
        "scan: last NaN instead of the first",
        "plain",
        "scan.h",
        "atomicMin(&params.state->first_nan,",
        "atomicMax(&params.state->first_nan,",
    ),
    Bug("scan: padding counted as NaN", "plain", "scan.h", "i < (end < params.n ? end : params.n)", "i < end"),
    Bug(
        "scan: reads the result of one block only",
        "plain",
        "scan.h",
        "i < gridDim.x; i += blockDim.x) {\n        grid_result",
        "i < 1; i += blockDim.x) {\n        grid_result",
    ),
    Bug(
        "scan: rank at the lower edge",
        "plain",
        "scan.h",
        "} else if (rank <= up_to_low) {",
        "} else if (rank < up_to_low) {",
    ),
    Bug(
        "scan: rank at the upper edge",
        "plain",
        "scan.h",
        "} else if (rank <= below_high + counts.n_at_high) {",
        "} else if (rank < below_high + counts.n_at_high) {",
    ),
    Bug(
        "scan: a tile is skipped",
        "plain",
        "vector_load.h",
        "begin += gridDim.x * tile",
        "begin += (gridDim.x + 1) * tile",
    ),
    # ---- radix_pass
    Bug(
        "radix pass: block histogram not cleared",
        "plain",
        "radix_pass.h",
        "        block_histogram[i] = 0;\n",
        "",
    ),
    Bug(
        "radix pass: no barrier after clearing",
        "plain",
        "radix_pass.h",
        "        block_histogram[i] = 0;\n    }\n    __syncthreads();\n",
        "        block_histogram[i] = 0;\n    }\n",
    ),
    Bug(
        "radix pass: no barrier before the histogram is added",
        "race",
        "radix_pass.h",
        "    });\n    __syncthreads();\n    for",
        "    });\n    for",
    ),
    Bug(
        "radix pass: increment of the block histogram not atomic",
        "race",
        "radix_pass.h",
        "atomicAdd(&block_histogram[static_cast<int>(static_cast<Bits>(k - first) >> shift)], 1U);",
        "block_histogram[static_cast<int>(static_cast<Bits>(k - first) >> shift)] += 1U;",
    ),
    Bug(
        "radix pass: increment of the global histogram not atomic",
        "race",
        "radix_pass.h",
        "atomicAdd(histogram + i, static_cast<Count>(count));",
        "histogram[i] += count;",
    ),
    Bug(
        "radix pass: bucket one too high",
        "plain",
        "radix_pass.h",
        "while (below + count < rank) {",
        "while (below + count <= rank) {",
    ),
    Bug(
        "radix pass: keys above the range",
        "plain",
        "radix_pass.h",
        "if (k >= first && k <= last) {",
        "if (k >= first) {",
    ),
    Bug(
        "radix pass: histogram not cleared for the next pass",
        "plain",
        "radix_pass.h",
        "        histogram[i] = 0;\n    }\n}",
        "    }\n}",
    ),
    Bug(
        "radix pass: histogram cleared while others read it",
        "race",
        "radix_pass.h",
        f"    __syncthreads();\n{EACH_BUCKET}        histogram[i] = 0;",
        f"{EACH_BUCKET}        histogram[i] = 0;",
    ),
    Bug(
        "radix pass: rank not reduced",
        "plain",
        "radix_pass.h",
        "        selection.rank -= static_cast<std::int64_t>(below);\n",
        "",
    ),
    Bug(
        "radix pass: count of keys equal to a known key",
        "plain",
        "radix_pass.h",
        "sides.n_equal += k == key ? 1 : 0;",
        "sides.n_equal += k >= key ? 1 : 0;",
    ),
    Bug(
        "radix pass: range wraps around",
        "plain",
        "radix_pass.h",
        "if (static_cast<Bits>(selection.last - selection.first) >= rest) {",
        "if (selection.last >= static_cast<Bits>(selection.first + rest)) {",
        "BFloat16",
    ),
    # ---- write_weights
    Bug(
        "write: no barrier after the plan",
        "plain",
        "write.h",
        "    __syncthreads();\n    if (weights.out == nullptr) {",
        "    if (weights.out == nullptr) {",
    ),
    Bug("write: threshold pruned", "plain", "write.h", "key == threshold_key ? at : pruned", "pruned"),
    Bug(
        "write: recipients",
        "plain",
        "write.h",
        "key <= recipient_key ? kept_recipient",
        "key < recipient_key ? kept_recipient",
    ),
    Bug(
        "write: rejected losses",
        "plain",
        "write.h",
        "    if (!rejected) {\n        const TargetWeights<F>",
        "    if (true) {\n        const TargetWeights<F>",
    ),
    Bug(
        "write: fused multiply-add",
        "plain",
        "write.h",
        "return decay * old + (key < threshold_key ? below : not_below);",
        "return std::fma(decay, old, key < threshold_key ? below : not_below);",
    ),
    Bug(
        "write: misaligned vectors",
        "plain",
        "write.h",
        "out_aligned = is_aligned(weights.out, vectors.lead);",
        "out_aligned = true;",
    ),
    Bug(
        "write: past the last vector", "plain", "write.h", "if (losses.contains(begin + j)) {", "if (begin + j >= 0) {"
    ),
    Bug(
        "vector load: partial vector taken as full",
        "plain",
        "vector_load.h",
        "first_index(vector) + width <= n;",
        "first_index(vector) + width <= n + 1;",
    ),
    Bug(
        "write: negative old weights accepted",
        "plain",
        "write.h",
        "return weight >= 0 && weight <= std::numeric_limits<W>::max();",
        "return weight <= std::numeric_limits<W>::max();",
    ),
    Bug(
        "write: last invalid weight of a vector",
        "plain",
        "write.h",
        "j = Width - 1; j >= 0; --j",
        "j = 0; j < Width; ++j",
    ),
    Bug(
        "write: invalid weight overwritten before it is reported",
        "plain",
        "write.h",
        "is_valid_weight(old_weight) ? new_weight : old_weight;",
        "new_weight;",
    ),
    Bug(
        "write: count of invalid weights not reset",
        "plain",
        "sample.h",
        "{~Count{0}, 0, 0};",
        "{~Count{0}, state.invalid_weights.n, 0};",
    ),
    # ---- launches
    Bug(
        "launch: one pass too few",
        "plain",
        "reweight.cu",
        "key_known ? 1 : n_digits<F>;",
        "key_known ? 1 : n_digits<F> - 1;",
    ),
    Bug(
        "launch: grid of one selection only",
        "plain",
        "reweight.cu",
        "grid(blocks, static_cast<unsigned>(params.n_selections))",
        "grid(blocks, 1U)",
    ),
)
