// The module rrm_core._cpu: converts arguments and releases the GIL. All arguments have been checked in Python: arrays
// are one-dimensional, contiguous, aligned, of the format's storage type and of equal length; `out` is writable. Only
// `are_plain` and `reweight_plain` take any NumPy arrays, and check them.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "../csrc/cpu/bucket_counts.h"
#include "../csrc/cpu/kernels.h"
#include "../csrc/cpu/reweight.h"
#include "../csrc/cpu/round_counts.h"
#include "../csrc/cpu/select.h"
#include "../csrc/cpu/thread_team.h"
#include "../csrc/cpu/tuning.h"
#include "convert.h"
#include "cpu_arrays.h"
#include "cpu_groups.h"
#include "cpu_training.h"
#include "gil.h"
#include "plain_arrays.h"

namespace py = pybind11;

namespace {

using rrm::bits;
using rrm::weights;

// Plans and, if `w_new` is not null and the losses are valid, writes the weights. See outcome_to_python for the result.
template <class F>
py::tuple reweight_memory(const typename F::Bits *c, std::int64_t n, const rrm::Rule &rule, double mu,
                          const typename F::Weight *w_old, typename F::Weight *w_new, int threads) {
    rrm::Plan plan{};
    rrm::InvalidWeights invalid_weights;
    rrm::NonFiniteCounts non_finite;
    {
        const rrm::GilRelease released;
        non_finite = rrm::cpu::reweight<F>(c, n, rule, mu, w_old, w_new, threads, plan, invalid_weights);
    }
    return rrm::outcome_to_python(non_finite, plan, invalid_weights, n, rule.prune_nan);
}

py::tuple reweight(const py::array &losses, int format, const rrm::Rule &rule, double mu,
                   const std::optional<py::array> &old_weights, std::optional<py::array> out, int threads) {
    return rrm::with_format(format, [&](auto f) {
        using F = decltype(f);
        auto *w_new = out ? static_cast<typename F::Weight *>(out->mutable_data()) : nullptr;
        return reweight_memory<F>(bits<F>(losses), losses.size(), rule, mu, weights<F>(old_weights), w_new, threads);
    });
}

// Returns whether the arrays are plain, see plain_call_format.
bool are_plain(const py::array &losses, const std::optional<py::array> &old_weights,
               const std::optional<py::array> &out) {
    return rrm::plain_call_format(losses, old_weights, out).has_value();
}

// Reweights plain arrays: returns the new weights, in `out` if given, and the outcome as `reweight` does; None if the
// arrays are not plain.
py::object reweight_plain(const py::array &losses, const rrm::Rule &rule, double mu,
                          const std::optional<py::array> &old_weights, const std::optional<py::array> &out,
                          int threads) {
    const auto format = rrm::plain_call_format(losses, old_weights, out);
    if (!format) {
        return py::none();
    }
    return rrm::with_format(*format, [&](auto f) -> py::object {
        using F = decltype(f);
        using Weight = typename F::Weight;
        py::array result = out ? *out : py::array_t<Weight>(losses.size());
        auto *w_new = static_cast<Weight *>(result.mutable_data());
        const auto outcome =
            reweight_memory<F>(bits<F>(losses), losses.size(), rule, mu, weights<F>(old_weights), w_new, threads);
        return py::make_tuple(std::move(result), outcome);
    });
}

// Returns the invalid old weights.
py::object apply(const py::array &losses, int format, double threshold, double recipient_threshold,
                 const rrm::LevelsTuple &levels, double mu, const std::optional<py::array> &old_weights, py::array out,
                 int threads) {
    return rrm::with_format(format, [&](auto f) {
        using F = decltype(f);
        const auto *c = bits<F>(losses);
        const auto *w_old = weights<F>(old_weights);
        auto *w_new = static_cast<typename F::Weight *>(out.mutable_data());
        rrm::Plan plan{};
        plan.threshold = threshold;
        plan.recipient_threshold = recipient_threshold;
        plan.levels = rrm::levels_from_tuple(levels);
        const std::int64_t n = losses.size();
        rrm::InvalidWeights invalid;
        {
            const rrm::GilRelease released;
            invalid = rrm::cpu::apply<F>(c, n, plan, mu, w_old, w_new, threads);
        }
        return rrm::invalid_weights_to_python(invalid);
    });
}

std::int64_t count_foreign(const py::array &losses, int format, double loss_min, bool allow_nan, int threads) {
    return rrm::with_format(format, [&](auto f) {
        using F = decltype(f);
        const auto *c = bits<F>(losses);
        const std::int64_t n = losses.size();
        const rrm::GilRelease released;
        return rrm::cpu::count_foreign<F>(c, n, loss_min, allow_nan, threads);
    });
}

// Adds to the counts of a round, see round_counts.h.
void count_first_pass(const py::array &losses, int format, std::int64_t first, py::array_t<std::int64_t> counts,
                      int threads) {
    rrm::with_format(format, [&](auto f) {
        using F = decltype(f);
        const auto *c = bits<F>(losses);
        const std::int64_t n = losses.size();
        auto *numbers = counts.mutable_data();
        const rrm::GilRelease released;
        rrm::cpu::add_first_pass<F>(c, n, first, format, threads, numbers);
    });
}

using KeyRange = std::tuple<std::uint64_t, std::uint64_t, int>; // first and last key, shift

// Adds to the counts of a round; stores the keys of the ranges if there is memory for them.
void count_pass(const py::array &losses, int format, const std::vector<KeyRange> &ranges,
                std::vector<py::array_t<std::uint64_t>> key_memory, const std::vector<std::uint64_t> &pivots,
                py::array_t<std::int64_t> counts, int threads) {
    std::array<rrm::cpu::KeyRange, 2> key_ranges;
    std::array<rrm::cpu::KeyMemory, 2> memory;
    std::array<std::uint64_t, 2> pivot_keys{};
    for (std::size_t i = 0; i < ranges.size(); ++i) {
        const auto &[first, last, shift] = ranges[i];
        key_ranges.at(i) = {first, last, shift};
    }
    for (std::size_t i = 0; i < key_memory.size(); ++i) {
        memory.at(i) = {key_memory[i].mutable_data(), key_memory[i].size()};
    }
    std::ranges::copy(pivots, pivot_keys.begin());
    rrm::with_format(format, [&](auto f) {
        using F = decltype(f);
        if constexpr (F::width > rrm::cpu::bin_bits) {
            const auto *c = bits<F>(losses);
            const std::int64_t n = losses.size();
            auto *numbers = counts.mutable_data();
            const rrm::GilRelease released;
            rrm::cpu::add_pass<F>(c, n, key_ranges, memory, pivot_keys, threads, numbers);
        }
    });
}

std::uint32_t checksum(const py::array &losses, int format) {
    return rrm::with_format(format, [&](auto f) {
        using F = decltype(f);
        const auto *c = bits<F>(losses);
        const std::int64_t n = losses.size();
        const rrm::GilRelease released;
        return rrm::cpu::checksum<F>(c, n);
    });
}

rrm::LevelsTuple levels(std::int64_t n, std::int64_t n_pruned, std::int64_t n_tied, std::int64_t n_recipients,
                        std::int64_t removed, const std::string &redistribute) {
    return rrm::levels_to_tuple(
        rrm::levels(n, n_pruned, n_tied, n_recipients, removed, rrm::parse_redistribute(redistribute)));
}

std::pair<const char *, const char *> instruction_sets() {
    return {rrm::cpu::name(rrm::cpu::chosen_instruction_set()), rrm::cpu::name(rrm::cpu::best_instruction_set())};
}

std::map<std::string, std::int64_t> tuning() {
    const auto &current = rrm::cpu::tuning;
    return {{"samples_per_thread", current.samples_per_thread},
            {"mark_from", current.mark_from},
            {"sample_runs_from", current.sample_runs_from},
            {"min_scratch_bytes", current.min_scratch_bytes},
            {"stream_bytes", current.stream_bytes},
            {"max_attempts", current.max_attempts},
            {"min_piece", current.min_piece},
            {"wait_for_threads", current.wait_for_threads}};
}

void tune(const std::map<std::string, std::int64_t> &values) {
    rrm::cpu::tuning = {.samples_per_thread = values.at("samples_per_thread"),
                        .mark_from = values.at("mark_from"),
                        .sample_runs_from = values.at("sample_runs_from"),
                        .min_scratch_bytes = values.at("min_scratch_bytes"),
                        .stream_bytes = values.at("stream_bytes"),
                        .max_attempts = values.at("max_attempts"),
                        .min_piece = values.at("min_piece"),
                        .wait_for_threads = values.at("wait_for_threads")};
}

std::vector<std::int64_t> sample_indices(std::int64_t n) {
    std::vector<std::int64_t> result;
    if (n <= rrm::cpu::small_size) {
        return result;
    }
    rrm::cpu::SampleIndices indices(n, 0);
    for (std::int64_t i = 0; i < indices.n_runs; ++i) {
        const std::int64_t first = indices.next();
        for (std::int64_t j = 0; j < indices.run_length; ++j) {
            result.push_back(first + j);
        }
    }
    return result;
}

} // namespace

// Calls share nothing that changes, except the tuning and the instruction set, which only tests change.
PYBIND11_MODULE(_cpu, m, py::mod_gil_not_used()) {
    m.attr("INTERFACE") = RRM_INTERFACE;
    rrm::bind_rule(m);
    m.def("reweight", &reweight);
    m.def("are_plain", &are_plain);
    m.def("reweight_plain", &reweight_plain);
    m.def("apply", &apply);
    m.def("count_foreign", &count_foreign);
    m.def("count_first_pass", &count_first_pass);
    m.def("count_pass", &count_pass);
    m.def("checksum", &checksum);
    rrm::bind_groups(m);
    rrm::bind_training(m);
    m.def("levels", &levels);
    m.def("instruction_sets", &instruction_sets);
    m.def("choose_instruction_set",
          [](const std::string &name) { rrm::cpu::choose_instruction_set(rrm::cpu::parse_instruction_set(name)); });
    m.def("tuning", &tuning);
    m.def("tune", &tune);
    m.def("sample_indices", &sample_indices);
    m.def("threads_started", [] { return rrm::cpu::ThreadTeam::n_started.load(); });
}
