// rrm_core._cpu: pointers, lengths, the GIL. Python has checked every argument: arrays are one-dimensional, contiguous,
// aligned, of the format's storage type and of equal length; `out` is writable.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "../csrc/cpu/loops.h"
#include "../csrc/cpu/order.h"
#include "../csrc/cpu/reweight.h"
#include "../csrc/cpu/team.h"
#include "../csrc/cpu/tuning.h"
#include "contract.h"

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
        rrm::Faults faults;
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
    m.def("levels", &levels);
    m.def("instruction_sets", &instruction_sets);
    m.def("choose_instruction_set",
          [](const std::string &name) { rrm::cpu::choose_instruction_set(rrm::cpu::instruction_set(name)); });
    m.def("tuning", &tuning);
    m.def("tune", &tune);
    m.def("sampled_places", &sampled_places);
    m.def("threads_started", [] { return rrm::cpu::Team::started.load(); });
}
