// The kernel against a definition by sorting, on random cases: for builds with sanitizers, which Python can't load.
//
//     kernel_cases CASES SEED   prints how many were tried; exit code 1 and the first case that differs, if one does
//     kernel_cases count N ISA  one call of each kind with N exponential losses on one thread, for counting
//     instructions
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "../../csrc/cpu/bucket_counts.h"
#include "../../csrc/cpu/kernels.h"
#include "../../csrc/cpu/reweight.h"
#include "../../csrc/cpu/tuning.h"
#include "definition.h"

using namespace rrm;

namespace {

int pick(Random &random, int count) {
    return static_cast<int>(random() % static_cast<std::uint64_t>(count));
}

template <class F> std::vector<typename F::Bits> draw_losses(Random &random, int family) {
    const std::int64_t n = pick(random, 3) == 0   ? 1 + pick(random, 300)
                           : pick(random, 2) == 0 ? 4090 + pick(random, 12)
                           : pick(random, 9) == 0 ? 131'065 + pick(random, 20)
                                                  : 1 + pick(random, 20'000);
    std::vector<typename F::Bits> losses;
    for (std::int64_t i = 0; i < n; ++i) {
        losses.push_back(round_to<F>(draw_loss(family, i, n, 1 - F::bias - F::mantissa, random)));
    }
    losses[static_cast<std::size_t>(pick(random, static_cast<int>(n)))] = round_to<F>(0.5); // one at least is finite
    return losses;
}

int draw_threads(Random &random) {
    return std::array{1, 2, 3, 7}[static_cast<std::size_t>(pick(random, 4))];
}

void choose_any_instruction_set(Random &random) {
    const auto best = static_cast<int>(cpu::best_instruction_set());
    cpu::choose_instruction_set(static_cast<cpu::InstructionSet>(pick(random, best + 1)));
}

template <class F> bool try_one(Random &random, std::string &description) {
    using V = typename F::Value;
    const auto pick = [&](int count) { return ::pick(random, count); };
    const int family = pick(families), threads = draw_threads(random);
    const auto losses = draw_losses<F>(random, family);
    const auto n = static_cast<std::int64_t>(losses.size());
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
    choose_any_instruction_set(random);
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
    const NonFiniteCounts faults =
        cpu::reweight<F>(losses.data(), n, rule, mu, read ? old.data() : nullptr, out.data(), threads, plan);
    description = "family " + std::to_string(family) + ", n " + std::to_string(n) + ", width " +
                  std::to_string(F::width) + ", rank " + std::to_string(rule.rank) + ", gamma " +
                  std::to_string(rule.gamma) + ", recipient_rank " + std::to_string(rule.recipient_rank) + ", quota " +
                  std::to_string(rule.quota) + ", mu " + std::to_string(mu) + (in_place ? " in place" : "") +
                  ", memory " + std::to_string(cpu::tuning.always_memory) + ", attempts " +
                  std::to_string(cpu::tuning.attempts) + ", threads " + std::to_string(threads) + ", " +
                  cpu::name(cpu::chosen_instruction_set());
    if (faults.is_invalid(n, true) || !same(plan, expected) ||
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

constexpr std::size_t bins = std::size_t{1} << cpu::bin_bits;

// The rounds of a selection, by their definition: one loss after the other, by its key.
template <class F> bool try_rounds(Random &random, std::string &description) {
    using Bits = typename F::Bits;
    const int family = pick(random, families), threads = draw_threads(random);
    const auto losses = draw_losses<F>(random, family);
    const auto n = static_cast<std::int64_t>(losses.size());
    choose_any_instruction_set(random);
    cpu::tuning = cpu::Tuning{.samples_per_thread = 1, .least_piece = cpu::block_size};
    description = "rounds of family " + std::to_string(family) + ", n " + std::to_string(n) + ", width " +
                  std::to_string(F::width) + ", threads " + std::to_string(threads) + ", " +
                  cpu::name(cpu::chosen_instruction_set());

    const std::int64_t first = pick(random, 1000);
    constexpr int shift = F::width - cpu::bin_bits;
    std::vector<std::int64_t> counts(bins, 1), expected(bins, 1); // they are added to
    cpu::Tally tally{.counts = counts.data()}, own{.counts = expected.data()};
    cpu::tally_all<F>(losses.data(), n, first, threads, tally);
    for (std::int64_t i = 0; i < n; ++i) {
        const Bits bits = losses[static_cast<std::size_t>(i)], key = F::key(bits);
        ++expected[key >> shift];
        own.lowest = std::min(own.lowest, std::uint64_t{key});
        own.first_nan = own.first_nan < 0 && key == F::key_nan ? first + i : own.first_nan;
        own.first_low = own.first_low < 0 && key == F::key_neg_inf ? first + i : own.first_low;
        own.checksum += static_cast<std::uint32_t>(bits) + static_cast<std::uint32_t>(std::uint64_t{bits} >> 32);
    }
    if (counts != expected || tally.lowest != own.lowest || tally.first_nan != own.first_nan ||
        tally.first_low != own.first_low || tally.checksum != own.checksum ||
        cpu::checksum<F>(losses.data(), n) != own.checksum) {
        return false;
    }
    if constexpr (F::width > cpu::bin_bits) {
        cpu::Round round;
        std::vector<std::int64_t> found[2], defined[2];
        std::vector<std::uint64_t> keys[2], kept[2];
        const bool keep = pick(random, 2) == 0;
        const auto any_key = [&] {
            return F::key(losses[static_cast<std::size_t>(pick(random, static_cast<int>(n)))]);
        };
        for (std::size_t which = 0; which < 2; ++which) {
            const Bits key = any_key();
            if (key == F::key_nan || pick(random, 5) == 0) {
                break;
            }
            const int width = pick(random, F::width / cpu::bin_bits - 1) * cpu::bin_bits + cpu::bin_bits;
            const Bits from = static_cast<Bits>(key >> width << width);
            round.intervals[which] = {from, from | ((std::uint64_t{1} << width) - 1), width - cpu::bin_bits};
            if (keep) {
                keys[which].resize(static_cast<std::size_t>(pick(random, static_cast<int>(n)) + 1));
                round.partials[which].keys = keys[which].data();
                round.partials[which].capacity = static_cast<std::int64_t>(keys[which].size());
            } else {
                defined[which].resize(bins);
                found[which].resize(bins);
                round.partials[which].counts = found[which].data();
            }
        }
        for (std::size_t which = 0; which < 2 && pick(random, 4) != 0; ++which) {
            round.points[which] = std::min<std::uint64_t>(any_key(), F::key_inf);
        }
        std::int64_t inside[2] = {};
        cpu::Census censuses[2];
        for (const Bits bits : losses) {
            const std::uint64_t key = F::key(bits);
            for (std::size_t which = 0; which < 2; ++which) {
                const cpu::Interval &interval = round.intervals[which];
                if (interval.first <= key && key <= interval.last) {
                    ++inside[which];
                    if (!keep) {
                        ++defined[which][(key - interval.first) >> interval.shift];
                    } else if (kept[which].size() < keys[which].size()) {
                        kept[which].push_back(key);
                    }
                }
                censuses[which].n_below += round.points[which] != 0 && key < round.points[which] ? 1 : 0;
                censuses[which].n_equal += round.points[which] != 0 && key == round.points[which] ? 1 : 0;
            }
        }
        cpu::tally_some<F>(losses.data(), n, threads, round);
        if (round.checksum != own.checksum) {
            return false;
        }
        for (std::size_t which = 0; which < 2; ++which) {
            keys[which].resize(static_cast<std::size_t>(round.partials[which].stored));
            if (round.partials[which].inside != inside[which] || keys[which] != kept[which] ||
                found[which] != defined[which] || round.censuses[which].n_below != censuses[which].n_below ||
                round.censuses[which].n_equal != censuses[which].n_equal) {
                return false;
            }
        }
    }
    return true;
}

// A selection at contamination 0.2: all bins, and then the one that holds the threshold and the losses at the minimum.
void count_rounds(const std::vector<std::uint32_t> &losses, std::uint32_t threshold) {
    const auto n = static_cast<std::int64_t>(losses.size());
    std::vector<std::int64_t> counts(bins);
    cpu::Tally tally{.counts = counts.data()};
    cpu::tally_all<Float32>(losses.data(), n, 0, 1, tally);
    const std::uint64_t first = threshold >> cpu::bin_bits << cpu::bin_bits;
    cpu::Round round;
    round.intervals[0] = {first, first + bins - 1, 0};
    round.partials[0].counts = counts.data();
    round.points[0] = tally.lowest;
    cpu::tally_some<Float32>(losses.data(), n, 1, round);
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
    count_rounds(losses, Float32::key_not_above(plan.threshold));
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
        const auto try_format = [&](auto f) {
            using F = decltype(f);
            return i % 16 < 4 ? try_rounds<F>(random, description) : try_one<F>(random, description);
        };
        const bool right = i % 4 == 0   ? try_format(Float16{})
                           : i % 4 == 1 ? try_format(BFloat16{})
                           : i % 4 == 2 ? try_format(Float32{})
                                        : try_format(Float64{});
        if (!right) {
            std::printf("case %d differs: %s\n", i, description.c_str());
            return 1;
        }
    }
    std::printf("%d cases\n", cases);
    return 0;
}
