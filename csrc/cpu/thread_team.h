// The threads of one call. None outlives the call, so that fork() is safe, and no other library's threads wait for one.
// Member m of M processes pieces m, m + M, m + 2M, ..., the same pieces in every pass.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "subnormals.h"

namespace rrm::cpu {

class ThreadTeam {
  public:
    static inline std::atomic<std::int64_t> n_started = 0; // threads started by all calls; read by a test

    // The calling thread is member 0. If the system cannot start all threads, the team is smaller.
    explicit ThreadTeam(int size) {
        try {
            threads_.reserve(static_cast<std::size_t>(size - 1));
            for (int member = 1; member < size; ++member) {
                threads_.emplace_back([this, member] { work(member); });
                ++n_started;
            }
        } catch (...) { // NOLINT(bugprone-empty-catch)
        }
    }
    ~ThreadTeam() {
        task_ = nullptr;
        start_task();
        for (std::thread &thread : threads_) {
            thread.join();
        }
    }
    ThreadTeam(const ThreadTeam &) = delete;
    ThreadTeam(ThreadTeam &&) = delete;
    ThreadTeam &operator=(const ThreadTeam &) = delete;
    ThreadTeam &operator=(ThreadTeam &&) = delete;

    [[nodiscard]] int size() const {
        return static_cast<int>(threads_.size()) + 1;
    }

    // Calls task(member) in each member and returns when all calls have returned. The task must not throw.
    template <class Task> void run(const Task &task) {
        if (threads_.empty()) {
            task(0);
            return;
        }
        const std::function<void(int)> wrapped = std::cref(task);
        task_ = &wrapped;
        n_busy_.store(size() - 1, std::memory_order_relaxed);
        start_task();
        task(0);
        for (int n = spin_until(n_busy_, [](int busy) { return busy == 0; }); n != 0; n = n_busy_.load()) {
            n_busy_.wait(n);
        }
    }

  private:
    // Polls a value for a while before the caller blocks on it, since a wake-up takes longer than most waits here.
    // Yields between polls, in case there are more threads than processors.
    template <class T, class Condition> static T spin_until(const std::atomic<T> &value, Condition holds) {
        constexpr int max_polls = 1000;
        T current = value.load(std::memory_order_acquire);
        for (int i = 0; i < max_polls && !holds(current); ++i) {
            std::this_thread::yield();
            current = value.load(std::memory_order_acquire);
        }
        return current;
    }
    void start_task() {
        task_number_.fetch_add(1, std::memory_order_release);
        task_number_.notify_all();
    }
    void work(int member) {
        const ExactSubnormals exact;
        for (std::uint32_t last = 0;;) {
            spin_until(task_number_, [last](std::uint32_t number) { return number != last; });
            task_number_.wait(last, std::memory_order_acquire);
            last = task_number_.load(std::memory_order_acquire);
            if (task_ == nullptr) {
                return;
            }
            (*task_)(member);
            if (n_busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
                n_busy_.notify_one();
            }
        }
    }

    std::atomic<std::uint32_t> task_number_ = 0;
    std::atomic<int> n_busy_ = 0;
    const std::function<void(int)> *task_ = nullptr; // null: the threads end
    std::vector<std::thread> threads_;               // last, because the threads use the members above
};

} // namespace rrm::cpu
