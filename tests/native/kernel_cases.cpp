// The kernel against a definition by sorting, on random cases: for builds with sanitizers, which Python can't load.
//
//     kernel_cases CASES SEED   prints how many were tried; exit code 1 and the first case that differs, if one does
//     kernel_cases count N ISA  one call with N exponential losses on one thread, for counting instructions
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "../../csrc/cpu/loops.h"
#include "../../csrc/cpu/reweight.h"
#include "../../csrc/cpu/tuning.h"
#include "definition.h"

using namespace rrm;

namespace {

template <class F> bool try_one(Random &random, std::string &description) {
    using V = typename F::Value;
    const auto pick = [&](int count) { return static_cast<int>(random() % static_cast<std::uint64_t>(count)); };
    const int family = pick(families), threads = std::array{1, 2, 3, 7}[static_cast<std::size_t>(pick(4))];
    const std::int64_t n = pick(3) == 0   ? 1 + pick(300)
                           : pick(2) == 0 ? 4090 + pick(12)
                           : pick(9) == 0 ? 131'065 + pick(20)
                                          : 1 + pick(20'000);
    std::vector<typename F::Bits> losses;
    for (std::int64_t i = 0; i < n; ++i) {
        losses.push_back(round_to<F>(draw_loss(family, i, n, 1 - F::bias - F::mantissa, random)));
    }
    losses[static_cast<std::size_t>(pick(static_cast<int>(n)))] = round_to<F>(0.5); // one at least is finite
    const std::int64_t quota = static_cast<std::int64_t>(uniform(random) * static_cast<double>(n)) % n;
    const bool by_rank = pick(4) != 0;
    const int who = pick(4);
    const Rule rule{by_rank ? n - quota : 0,
                    by_rank ? 0.0 : uniform(random) * 2.0,
                    who == 0   ? 1
                    : who == 1 ? 1 + pick(static_cast<int>(n))
                    : who == 2 ? n + 1
                               : 0,
                    by_rank && pick(2) == 0 ? quota : 0,
                    who == 2   ? Redistribute::kept
                    : who == 3 ? Redistribute::drop
                               : Redistribute::recipients,
                    true};
    std::vector<V> old;
    for (std::int64_t i = 0; i < n; ++i) {
        old.push_back(static_cast<V>(uniform(random)));
    }
    const double mu = pick(2) == 0 ? 1.0 : 0.3;
    const bool read = pick(3) != 0, in_place = read && pick(2) == 0;
    const auto best = static_cast<int>(cpu::best_instruction_set());
    cpu::choose_instruction_set(static_cast<cpu::InstructionSet>(pick(best + 1)));
    cpu::tuning = {1,
                   pick(2) == 0 ? n + 1 : 2049,
                   pick(2) == 0 ? 4097 : n + 1,
                   pick(2) == 0 ? 1 << 20 : (100 + pick(100)) * 1024,
                   pick(2) == 0 ? 0 : 1 << 30,
                   1 + pick(3),
                   cpu::block_size};

    Plan expected{}, plan{};
    const auto weights = define<F>(losses, rule, mu, read ? old.data() : nullptr, expected);
    std::vector<V> fresh(static_cast<std::size_t>(n));
    std::vector<V> &out = in_place ? old : fresh;
    const Faults faults =
        cpu::reweight<F>(losses.data(), n, rule, mu, read ? old.data() : nullptr, out.data(), threads, plan);
    description = "family " + std::to_string(family) + ", n " + std::to_string(n) + ", width " +
                  std::to_string(F::width) + ", rank " + std::to_string(rule.rank) + ", gamma " +
                  std::to_string(rule.gamma) + ", recipient_rank " + std::to_string(rule.recipient_rank) + ", quota " +
                  std::to_string(rule.quota) + ", mu " + std::to_string(mu) + (in_place ? " in place" : "") +
                  ", memory " + std::to_string(cpu::tuning.always_memory) + ", attempts " +
                  std::to_string(cpu::tuning.attempts) + ", threads " + std::to_string(threads) + ", " +
                  cpu::name(cpu::chosen_instruction_set());
    if (faults.refuse(n, true) || !same(plan, expected) ||
        std::memcmp(out.data(), weights.data(), weights.size() * sizeof(V)) != 0) {
        return false;
    }
    std::vector<V> applied(static_cast<std::size_t>(n));
    cpu::apply<F>(losses.data(), n, plan, 1.0, nullptr, applied.data(), threads);
    const auto targets = define<F>(losses, rule, 1.0, nullptr, expected);
    if (std::memcmp(applied.data(), targets.data(), targets.size() * sizeof(V)) != 0) {
        return false;
    }
    std::int64_t foreign = 0;
    for (const auto bits : losses) {
        foreign += F::value(bits) < plan.threshold || std::isnan(F::value(bits)) ? 1 : 0;
    }
    return cpu::count_foreign<F>(losses.data(), n, plan.threshold, false, threads) == foreign;
}

int count_instructions(std::int64_t n, const char *set) {
    Random random(1);
    std::vector<std::uint32_t> losses;
    for (std::int64_t i = 0; i < n; ++i) {
        losses.push_back(std::bit_cast<std::uint32_t>(static_cast<float>(draw_loss(0, i, n, 0, random))));
    }
    std::vector<float> weights(losses.size(), 1.0F);
    cpu::choose_instruction_set(cpu::instruction_set(set));
    const Rule rule{n - n / 5, 0.0, 1, 0, Redistribute::recipients, false};
    Plan plan{};
    cpu::reweight<Float32>(losses.data(), n, rule, 0.3, weights.data(), weights.data(), 1, plan);
    std::printf("%lld pruned\n", static_cast<long long>(plan.n_pruned));
    return 0;
}

} // namespace

int main(int argc, char **argv) {
    if (argc == 4 && std::strcmp(argv[1], "count") == 0) {
        return count_instructions(std::atoll(argv[2]), argv[3]);
    }
    if (argc != 3) {
        std::fputs("usage: kernel_cases CASES SEED | kernel_cases count N ISA\n", stderr);
        return 2;
    }
    const int cases = std::atoi(argv[1]);
    Random random(static_cast<std::uint64_t>(std::atoll(argv[2])));
    for (int i = 0; i < cases; ++i) {
        std::string description;
        const bool right = i % 4 == 0   ? try_one<Float16>(random, description)
                           : i % 4 == 1 ? try_one<BFloat16>(random, description)
                           : i % 4 == 2 ? try_one<Float32>(random, description)
                                        : try_one<Float64>(random, description);
        if (!right) {
            std::printf("case %d differs: %s\n", i, description.c_str());
            return 1;
        }
    }
    std::printf("%d cases\n", cases);
    return 0;
}
