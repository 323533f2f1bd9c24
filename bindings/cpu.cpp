// rrm_core._cpu: pointers, lengths, the GIL. Python has checked every argument: arrays are one-dimensional, contiguous,
// aligned, of the format's storage type and of equal length; `out` is writable.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "../csrc/cpu/bucket_counts.h"
#include "../csrc/cpu/kernels.h"
#include "../csrc/cpu/reweight.h"
#include "../csrc/cpu/select.h"
#include "../csrc/cpu/thread_team.h"
#include "../csrc/cpu/tuning.h"
#include "convert.h"

namespace py = pybind11;

namespace {

template <class F> const typename F::Bits *bits(const py::array &losses) {
    return static_cast<const typename F::Bits *>(losses.data());
}

template <class F> const typename F::Weight *weights(const std::optional<py::array> &old) {
    return old ? static_cast<const typename F::Weight *>(old->data()) : nullptr;
}

// Plans, and writes the weights if `out` is given and nothing is wrong with the losses. Returns either what is wrong
// or what was found; see _cpu.pyi.
py::tuple reweight(const py::array &losses, int format, const rrm::Rule &rule, double mu,
                   const std::optional<py::array> &old, std::optional<py::array> out, int threads) {
    return rrm::with_format(format, [&](auto f) -> py::tuple {
        using F = decltype(f);
        const auto *c = bits<F>(losses);
        const std::int64_t n = losses.size();
        const auto *before = weights<F>(old);
        auto *after = out ? static_cast<typename F::Weight *>(out->mutable_data()) : nullptr;
        rrm::Plan plan{};
        rrm::NonFiniteCounts faults;
        {
            const py::gil_scoped_release released;
            faults = rrm::cpu::reweight<F>(c, n, rule, mu, before, after, threads, plan);
        }
        return rrm::answer(faults, plan, n, rule.prune_nan);
    });
}

void apply(const py::array &losses, int format, double threshold, double recipient_threshold,
           const rrm::LevelsTuple &levels, double mu, const std::optional<py::array> &old, py::array out, int threads) {
    rrm::with_format(format, [&](auto f) {
        using F = decltype(f);
        const auto *c = bits<F>(losses);
        const auto *before = weights<F>(old);
        auto *after = static_cast<typename F::Weight *>(out.mutable_data());
        rrm::Plan plan{};
        plan.threshold = threshold;
        plan.recipient_threshold = recipient_threshold;
        plan.levels = rrm::levels_of(levels);
        const std::int64_t n = losses.size();
        const py::gil_scoped_release released;
        rrm::cpu::apply<F>(c, n, plan, mu, before, after, threads);
    });
}

std::int64_t count_foreign(const py::array &losses, int format, double loss_min, bool allow_nan, int threads) {
    return rrm::with_format(format, [&](auto f) {
        using F = decltype(f);
        const auto *c = bits<F>(losses);
        const std::int64_t n = losses.size();
        const py::gil_scoped_release released;
        return rrm::cpu::count_foreign<F>(c, n, loss_min, allow_nan, threads);
    });
}

// Adds to the counts of all bins; returns the lowest key, the first index of NaN and of -infinity, and the checksum.
py::tuple tally_all(const py::array &losses, int format, std::int64_t first, py::array_t<std::int64_t> counts,
                    int threads) {
    return rrm::with_format(format, [&](auto f) -> py::tuple {
        using F = decltype(f);
        const auto *c = bits<F>(losses);
        const std::int64_t n = losses.size();
        rrm::cpu::Tally tally{.counts = counts.mutable_data()};
        {
            const py::gil_scoped_release released;
            rrm::cpu::tally_all<F>(c, n, first, threads, tally);
        }
        return py::make_tuple(tally.lowest, tally.first_nan, tally.first_low, tally.checksum);
    });
}

using Interval = std::tuple<std::uint64_t, std::uint64_t, int>; // first and last key, shift

// Adds to the counts of the intervals' bins, or keeps keys where the memory is of uint64; see _cpu.pyi.
py::tuple tally_some(const py::array &losses, int format, const std::vector<Interval> &intervals,
                     std::vector<py::array> memory, const std::vector<std::uint64_t> &points, int threads) {
    rrm::cpu::Round round;
    for (std::size_t i = 0; i < intervals.size(); ++i) {
        const auto &[first, last, shift] = intervals[i];
        round.intervals.at(i) = {first, last, shift};
        rrm::cpu::Partial &partial = round.partials.at(i);
        if (memory.at(i).dtype().kind() == 'i') {
            partial.counts = static_cast<std::int64_t *>(memory[i].mutable_data());
        } else {
            partial.keys = static_cast<std::uint64_t *>(memory[i].mutable_data());
            partial.capacity = memory[i].size();
        }
    }
    std::ranges::copy(points, round.points.begin());
    rrm::with_format(format, [&](auto f) {
        using F = decltype(f);
        if constexpr (F::width > rrm::cpu::bin_bits) {
            const auto *c = bits<F>(losses);
            const std::int64_t n = losses.size();
            const py::gil_scoped_release released;
            rrm::cpu::tally_some<F>(c, n, threads, round);
        }
    });
    py::list inside, censuses;
    for (std::size_t i = 0; i < intervals.size(); ++i) {
        inside.append(round.partials[i].inside);
    }
    for (std::size_t i = 0; i < points.size(); ++i) {
        censuses.append(py::make_tuple(round.censuses[i].n_below, round.censuses[i].n_equal));
    }
    return py::make_tuple(round.checksum, inside, censuses);
}

std::uint32_t checksum(const py::array &losses, int format) {
    return rrm::with_format(format, [&](auto f) {
        using F = decltype(f);
        const auto *c = bits<F>(losses);
        const std::int64_t n = losses.size();
        const py::gil_scoped_release released;
        return rrm::cpu::checksum<F>(c, n);
    });
}

rrm::LevelsTuple levels(std::int64_t n, std::int64_t n_pruned, std::int64_t n_tied, std::int64_t n_recipients,
                        std::int64_t removed, const std::string &redistribute) {
    return rrm::as_tuple(
        rrm::levels(n, n_pruned, n_tied, n_recipients, removed, rrm::redistribute_called(redistribute)));
}

std::pair<const char *, const char *> instruction_sets() {
    return {rrm::cpu::name(rrm::cpu::chosen_instruction_set()), rrm::cpu::name(rrm::cpu::best_instruction_set())};
}

std::map<std::string, std::int64_t> tuning() {
    const auto &now = rrm::cpu::tuning;
    return {{"samples_per_thread", now.samples_per_thread},
            {"mark_from", now.mark_from},
            {"draw_runs_from", now.draw_runs_from},
            {"always_memory", now.always_memory},
            {"stream_bytes", now.stream_bytes},
            {"attempts", now.attempts},
            {"least_piece", now.least_piece}};
}

void tune(const std::map<std::string, std::int64_t> &values) {
    auto &now = rrm::cpu::tuning;
    now = {values.at("samples_per_thread"), values.at("mark_from"),    values.at("draw_runs_from"),
           values.at("always_memory"),      values.at("stream_bytes"), values.at("attempts"),
           values.at("least_piece")};
}

std::vector<std::int64_t> sampled_places(std::int64_t n) {
    std::vector<std::int64_t> places;
    if (n <= rrm::cpu::few) {
        return places;
    }
    rrm::cpu::Draw draw(n, 0);
    for (std::int64_t i = 0; i < draw.runs; ++i) {
        const std::int64_t first = draw.next();
        for (std::int64_t j = 0; j < draw.run; ++j) {
            places.push_back(first + j);
        }
    }
    return places;
}

} // namespace

PYBIND11_MODULE(_cpu, m) {
    rrm::bind_rule(m);
    m.def("reweight", &reweight);
    m.def("apply", &apply);
    m.def("count_foreign", &count_foreign);
    m.def("tally_all", &tally_all);
    m.def("tally_some", &tally_some);
    m.def("checksum", &checksum);
    m.def("levels", &levels);
    m.def("instruction_sets", &instruction_sets);
    m.def("choose_instruction_set",
          [](const std::string &name) { rrm::cpu::choose_instruction_set(rrm::cpu::instruction_set(name)); });
    m.def("tuning", &tuning);
    m.def("tune", &tune);
    m.def("sampled_places", &sampled_places);
    m.def("threads_started", [] { return rrm::cpu::Team::started.load(); });
}
