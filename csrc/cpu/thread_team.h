// The threads of one call. They start with it and end with it: nothing is left over that a fork could break or another
// library's threads could wait for. Each works on every so manieth piece of the samples, the same ones whenever asked.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "subnormals.h"

namespace rrm::cpu {

class Team {
  public:
    static inline std::atomic<std::int64_t> started = 0; // threads, by all calls so far; a test counts them

    // The caller is the first member. If the system gives no more threads there are fewer members.
    explicit Team(int members) {
        try {
            others_.reserve(static_cast<std::size_t>(members - 1));
            for (int member = 1; member < members; ++member) {
                others_.emplace_back([this, member] { serve(member); });
                ++started;
            }
        } catch (...) { // NOLINT(bugprone-empty-catch)
        }
    }
    ~Team() {
        task_ = nullptr;
        start_next();
        for (std::thread &thread : others_) {
            thread.join();
        }
    }
    Team(const Team &) = delete;
    Team(Team &&) = delete;
    Team &operator=(const Team &) = delete;
    Team &operator=(Team &&) = delete;

    [[nodiscard]] int size() const {
        return static_cast<int>(others_.size()) + 1;
    }

    // Each member calls task(member); returns when all have. The task doesn't throw.
    template <class Task> void run(const Task &task) {
        if (others_.empty()) {
            task(0);
            return;
        }
        const std::function<void(int)> wrapped = std::cref(task);
        task_ = &wrapped;
        busy_.store(size() - 1, std::memory_order_relaxed);
        start_next();
        task(0);
        for (int left = watch(busy_, [](int now) { return now == 0; }); left != 0; left = busy_.load()) {
            busy_.wait(left);
        }
    }

  private:
    // Looks for a while before the caller goes to sleep, since waking up takes longer than most waits here last; and
    // lets others go first, in case there are more threads than processors.
    template <class T, class Condition> static T watch(const std::atomic<T> &value, Condition holds) {
        constexpr int looks = 1000;
        T now = value.load(std::memory_order_acquire);
        for (int i = 0; i < looks && !holds(now); ++i) {
            std::this_thread::yield();
            now = value.load(std::memory_order_acquire);
        }
        return now;
    }
    void start_next() {
        round_.fetch_add(1, std::memory_order_release);
        round_.notify_all();
    }
    void serve(int member) {
        const ExactSubnormals exact;
        for (std::uint32_t seen = 0;;) {
            watch(round_, [seen](std::uint32_t now) { return now != seen; });
            round_.wait(seen, std::memory_order_acquire);
            seen = round_.load(std::memory_order_acquire);
            if (task_ == nullptr) {
                return;
            }
            (*task_)(member);
            if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
                busy_.notify_one();
            }
        }
    }

    std::atomic<std::uint32_t> round_ = 0;
    std::atomic<int> busy_ = 0;
    const std::function<void(int)> *task_ = nullptr;
    std::vector<std::thread> others_; // last: they use the rest
};

} // namespace rrm::cpu
