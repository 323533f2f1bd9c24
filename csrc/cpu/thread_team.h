// The threads of one call, of which none works after it, so that fork() is safe, and no other library's threads wait
// for one. Where other processes keep the processors busy, a thread may start late, or be suspended. The caller never
// waits for one that has not begun to work: members share the work out as they come, and the caller does what is left.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>

#include "subnormals.h"
#include "tuning.h"

#if defined(__x86_64__) || defined(__amd64__)
#include <immintrin.h>
#endif

namespace rrm::cpu {

class ThreadTeam {
  public:
    static inline std::atomic<std::int64_t> n_started = 0; // threads started by all calls; read by a test

    // The calling thread is member 0. If the system cannot start all threads, the team is smaller.
    explicit ThreadTeam(int size) {
        if (size <= 1) {
            return;
        }
        shared_ = std::make_shared<Shared>();
        try {
            for (; size_ < size; ++size_) {
                // Detached: a thread that the system has not yet run when the call returns ends without having worked.
                std::thread(work, shared_, size_).detach();
                ++n_started;
            }
        } catch (...) { // NOLINT(bugprone-empty-catch)
        }
    }
    ~ThreadTeam() {
        if (shared_ != nullptr) {
            shared_->state.fetch_or(ended, std::memory_order_release);
            shared_->state.notify_all();
        }
    }
    ThreadTeam(const ThreadTeam &) = delete;
    ThreadTeam(ThreadTeam &&) = delete;
    ThreadTeam &operator=(const ThreadTeam &) = delete;
    ThreadTeam &operator=(ThreadTeam &&) = delete;

    [[nodiscard]] int size() const {
        return size_;
    }

    // Calls task(member) in the calling thread, as member 0, and in each other member that begins before that call has
    // returned, and returns when all calls have returned. So each call must do whatever work is left. The task must not
    // throw.
    template <class Task> void run(const Task &task) {
        if (size_ == 1) {
            task(0);
            return;
        }
        const std::function<void(int)> wrapped = std::cref(task);
        shared_->task = &wrapped;
        shared_->state.fetch_add(one_run | open, std::memory_order_release);
        shared_->state.notify_all();
        if (tuning.wait_for_threads != 0) {
            n_begun_ += static_cast<std::uint32_t>(size_ - 1);
            wait_until(shared_->n_begun, [this](std::uint32_t n) { return n == n_begun_; });
        }
        task(0);
        shared_->state.fetch_and(~open, std::memory_order_relaxed);
        wait_until(shared_->state, [](std::uint32_t state) { return n_working(state) == 0; });
    }

  private:
    // The state of a team: how many threads besides the caller work on the task of the current run; whether others may
    // begin to; whether the team has ended; and the number of the run, modulo 2^14.
    static constexpr std::uint32_t open = 1U << 16;
    static constexpr std::uint32_t ended = 1U << 17;
    static constexpr std::uint32_t one_run = 1U << 18;

    static std::uint32_t n_working(std::uint32_t state) {
        return state % open;
    }
    static std::uint32_t run_number(std::uint32_t state) {
        return state / one_run;
    }

    struct Shared { // by the caller and the threads, some of which may end after the call
        std::atomic<std::uint32_t> state = 0;
        const std::function<void(int)> *task = nullptr;
        std::atomic<std::uint32_t> n_begun = 0; // how many threads have begun to work, in all runs together
    };

    // Returns the value once the condition holds. Polls for up to some tenths of a millisecond before it blocks, since
    // a wake-up takes longer than most waits here. It does not yield in between: where other processes wait for the
    // processor, that would cost a time slice or more, and a blocked thread is resumed earlier than one that yielded.
    template <class Condition>
    static std::uint32_t wait_until(const std::atomic<std::uint32_t> &value, Condition holds) {
        constexpr int max_polls = 5000;
        std::uint32_t current = value.load(std::memory_order_acquire);
        for (int i = 0; i < max_polls && !holds(current); ++i) {
            pause();
            current = value.load(std::memory_order_acquire);
        }
        while (!holds(current)) {
            value.wait(current, std::memory_order_acquire);
            current = value.load(std::memory_order_acquire);
        }
        return current;
    }
    // Lets a processor that polls use less power, and the other thread of its core run faster.
    static void pause() {
#if defined(__x86_64__) || defined(__amd64__)
        _mm_pause();
#elif defined(__aarch64__)
        __asm__ volatile("yield");
#endif
    }

    static void work(const std::shared_ptr<Shared> &shared, int member) {
        const ExactSubnormals exact;
        for (std::uint32_t last = 0;;) { // the number of the last run in which this thread worked
            std::uint32_t state = wait_until(shared->state, [last](std::uint32_t current) {
                return (current & ended) != 0 || ((current & open) != 0 && run_number(current) != last);
            });
            if ((state & ended) != 0) {
                return;
            }
            if (!shared->state.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) {
                continue;
            }
            last = run_number(state);
            if (tuning.wait_for_threads != 0) {
                ++shared->n_begun;
                shared->n_begun.notify_all();
            }
            (*shared->task)(member);
            state = shared->state.fetch_sub(1, std::memory_order_acq_rel) - 1;
            if ((state & open) == 0 && n_working(state) == 0) {
                shared->state.notify_all();
            }
        }
    }

    int size_ = 1;
    std::uint32_t n_begun_ = 0;      // how many must have begun before the caller works, if it waits for them
    std::shared_ptr<Shared> shared_; // null in a team of one
};

} // namespace rrm::cpu
