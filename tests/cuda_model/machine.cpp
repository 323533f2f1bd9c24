// One thread of the CPU, a stack for each CUDA thread that has begun. Programs need -rdynamic, for kernels to have
// names.
//
// With AddressSanitizer this file is compiled like any other. With ThreadSanitizer, the kernels are compiled with
// -fsanitize=thread, but this file without and with -DRRM_MODEL_TSAN: it tells what CUDA orders, and its own memory is
// no business of a race checker. -DRRM_MODEL_UCONTEXT switches stacks with the C library, as on other processors.
#include "machine.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cxxabi.h>
#include <dlfcn.h>
#include <map>
#include <memory>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <unordered_set>
#include <utility>
#include <vector>

#if !defined(__x86_64__) && !defined(RRM_MODEL_UCONTEXT)
#define RRM_MODEL_UCONTEXT
#endif
#ifdef RRM_MODEL_UCONTEXT
#include <ucontext.h>
#endif

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#ifdef __SANITIZE_THREAD__
#error "ThreadSanitizer must not watch the model itself: compile this file with -DRRM_MODEL_TSAN instead"
#endif

namespace model {

Place here;
Counts counted;
bool memory_registered = false;

namespace {

constexpr unsigned warp_size = 32;
constexpr std::size_t static_shared_limit = 48 << 10, shared_limit = 227 << 10;

class Random { // splitmix64: any seed will do
  public:
    explicit Random(std::uint64_t seed) : state_(seed) {}

    unsigned below(unsigned limit) {
        return static_cast<unsigned>((next() >> 32) * limit >> 32);
    }
    bool one_in(unsigned n) {
        return below(n) == 0;
    }

  private:
    std::uint64_t state_;

    std::uint64_t next() {
        std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        return z ^ z >> 31;
    }
};

// ---- What the race checker is told.

#ifdef RRM_MODEL_TSAN
extern "C" {
void *__tsan_get_current_fiber();
void *__tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void *fiber);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
void __tsan_acquire(void *address);
void __tsan_release(void *address);
}

// ThreadSanitizer follows each CUDA thread as a fiber. Switching between them orders nothing; what CUDA orders, it is
// told here.
//
// A clock can only be kept at an address, and only merged with what is there. So as to order no more than CUDA does,
// each address below belongs to one thread, whose own clock only grows. (That of an atomic variable collects what all
// releases to it bring, as C++ has it.)
class Races {
  public:
    class Thread {
        friend class Races;
        void *fiber_ = nullptr, *outbound_ = nullptr, *inbound_ = nullptr;
        bool fenced_ = false, has_inbound_ = false;
        char known_ = 0, at_fence_ = 0, observed_ = 0; // only their addresses are used
    };

    void begin_launch() {
        host_ = __tsan_get_current_fiber();
        janitor_ = __tsan_create_fiber(0);
    }
    void end_launch() {
        __tsan_destroy_fiber(janitor_);
        bury_all_but(0);
        published_.clear();
        __tsan_acquire(&ended_);
    }

    // For the host to call: the thread begins with what the host knows.
    void create(Thread &thread) {
        thread.fiber_ = __tsan_create_fiber(0);
    }
    void enter(const Thread &thread) {
        now(thread.fiber_);
    }
    void enter_host() {
        now(host_);
    }
    void leave(Thread &thread) {
        now(thread.fiber_);
        __tsan_release(&ended_);
    }
    // ThreadSanitizer takes a fiber for the one that had its number before, so they are kept as long as they may be.
    void retire(Thread &thread) {
        for (void *courier : {thread.outbound_, thread.inbound_}) {
            if (courier != nullptr) {
                __tsan_destroy_fiber(courier);
            }
        }
        dead_.push_back(thread.fiber_);
        bury_all_but(kept_dead);
    }

    // What the caller allocates is as if it had been there before the launch for all who call see_made.
    template <class Work> void as_host(Work work, const Thread &caller, void *made) {
        now(host_);
        work();
        __tsan_release(made);
        now(caller.fiber_);
    }
    void see_made(void *made) {
        __tsan_acquire(made);
    }
    // Frees what threads that have left used. The host must not know what they did: blocks that it starts later would.
    template <class Work> void as_janitor(Work work) {
        now(janitor_);
        __tsan_acquire(&ended_);
        work();
        now(host_);
    }

    // All that any of `count` threads did is before whatever any of them will do. thread(i) is the i-th of them.
    template <class Get> void meet(unsigned count, Get thread, const Thread &running) {
        Thread &first = thread(0);
        for (unsigned i = 1; i < count; ++i) {
            release_known(thread(i));
            now(first.fiber_);
            __tsan_acquire(&thread(i).known_);
        }
        release_known(first);
        for (unsigned i = 1; i < count; ++i) {
            now(thread(i).fiber_);
            __tsan_acquire(&first.known_);
        }
        now(running.fiber_);
    }

    // As in C++: what a thread did before a fence is passed on by its atomic operations after the fence; and what its
    // atomic operations came across counts from its next fence on. A fiber of its own carries each, since the thread
    // itself must not learn of it yet.
    void fence(Thread &thread) {
        __tsan_release(&thread.at_fence_);
        thread.fenced_ = true;
        if (thread.has_inbound_) {
            __tsan_acquire(&thread.observed_);
        }
    }
    void atomic_written(Thread &thread, void *address) {
        if (!thread.fenced_) {
            return;
        }
        now(host_);
        published_.insert(address);
        carry(thread.outbound_, &thread.at_fence_, address, thread);
    }
    void atomic_read(Thread &thread, void *address) {
        if (!published_.contains(address)) {
            return;
        }
        thread.has_inbound_ = true;
        carry(thread.inbound_, address, &thread.observed_, thread);
    }

  private:
    static constexpr std::size_t kept_dead = 1024; // each takes about half a megabyte

    void *host_ = nullptr, *janitor_ = nullptr;
    std::vector<void *> dead_;
    std::unordered_set<const void *> published_;
    char ended_ = 0;

    static void now(void *fiber) {
        constexpr unsigned no_sync = 1;
        __tsan_switch_to_fiber(fiber, no_sync);
    }
    static void release_known(Thread &thread) {
        now(thread.fiber_);
        __tsan_release(&thread.known_);
    }
    void carry(void *&courier, void *from, void *to, const Thread &running) {
        if (courier == nullptr) {
            now(host_); // a fiber begins with what its creator knows
            courier = __tsan_create_fiber(0);
        }
        now(courier);
        __tsan_acquire(from);
        __tsan_release(to);
        now(running.fiber_);
    }
    void bury_all_but(std::size_t kept) {
        if (kept == 0 || dead_.size() >= 2 * kept) {
            const auto end = dead_.end() - static_cast<std::ptrdiff_t>(kept);
            for (auto fiber = dead_.begin(); fiber != end; ++fiber) {
                __tsan_destroy_fiber(*fiber);
            }
            dead_.erase(dead_.begin(), end);
        }
    }
};
#else
class Races {
  public:
    class Thread {};

    void begin_launch() {}
    void end_launch() {}
    void create(Thread &) {}
    void enter(const Thread &) {}
    void enter_host() {}
    void leave(Thread &) {}
    void retire(Thread &) {}
    template <class Work> void as_host(Work work, const Thread &, void *) {
        work();
    }
    void see_made(void *) {}
    template <class Work> void as_janitor(Work work) {
        work();
    }
    template <class Get> void meet(unsigned, Get, const Thread &) {}
    void fence(Thread &) {}
    void atomic_written(Thread &, void *) {}
    void atomic_read(Thread &, void *) {}
};
#endif

// ---- Stacks, and switching between them.

// The pages of a stack take memory only once they are touched.
class Stacks {
  public:
    static constexpr std::size_t size = 128 << 10; // a page below it is out of bounds

#ifdef RRM_MODEL_TSAN
    // What one thread left on its stack must not look like a race with the next one's: taking the memory away makes
    // ThreadSanitizer forget. The system call itself, as mmap would count as a write by the thread that runs.
    char *take() {
        constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        const long address = syscall(SYS_mmap, nullptr, guard + size, PROT_READ | PROT_WRITE, flags, -1, 0L);
        char *const memory = reinterpret_cast<char *>(address);
        mprotect(memory, guard, PROT_NONE);
        return memory + guard;
    }
    void give_back(char *stack) {
        munmap(stack - guard, guard + size);
    }
#else
    char *take() {
        if (free_.empty()) {
            map_more();
        }
        char *const stack = free_.back();
        free_.pop_back();
#ifdef __SANITIZE_ADDRESS__
        __asan_unpoison_memory_region(stack, size); // the last function on it never returned
#endif
        return stack;
    }
    void give_back(char *stack) {
        free_.push_back(stack);
    }
#endif

  private:
    static constexpr std::size_t guard = 4096, at_once = 64;

    std::vector<char *> free_;

    void map_more() {
        constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        void *const mapped = mmap(nullptr, at_once * (guard + size), PROT_READ | PROT_WRITE, flags, -1, 0);
        if (mapped == MAP_FAILED) {
            fail("no memory for the stacks of threads");
        }
        char *memory = static_cast<char *>(mapped);
        for (std::size_t i = 0; i < at_once; ++i, memory += guard + size) {
            mprotect(memory, guard, PROT_NONE);
            free_.push_back(memory + guard);
        }
    }
};

// What is needed to go on with a stack that was left.
struct Context {
#ifdef RRM_MODEL_UCONTEXT
    ucontext_t registers;
#else
    void *stack_pointer = nullptr;
#endif
#ifdef __SANITIZE_ADDRESS__
    void *fake_stack = nullptr;
    const void *bottom = nullptr;
    std::size_t size = 0;
#endif
};

#ifdef RRM_MODEL_UCONTEXT
void prepare(Context &context, char *stack, unsigned, void (*entry)()) {
    getcontext(&context.registers);
    context.registers.uc_stack.ss_sp = stack;
    context.registers.uc_stack.ss_size = Stacks::size;
    context.registers.uc_link = nullptr;
    makecontext(&context.registers, entry, 0);
}
void switch_stacks(Context &from, Context &to) {
    swapcontext(&from.registers, &to.registers);
}
#else
// Only what a function must preserve for its caller. The control words of the floating-point units stay as they are:
// kernels don't change them, so those of whoever called run() hold for every thread. `ret` mispredicts where it leads,
// yet an indirect jump in its place made a shuffle of 21 ns take 34.
extern "C" void rrm_model_switch(void **from, void *to);
asm(R"(
    .text
    .p2align 4
    .hidden rrm_model_switch
    .globl rrm_model_switch
    .type rrm_model_switch, @function
rrm_model_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size rrm_model_switch, .-rrm_model_switch
)");

void prepare(Context &context, char *stack, unsigned serial, void (*entry)()) {
    constexpr unsigned preserved = 6;
    // Were all stacks to begin at the same place of a page, they would evict each other from the caches.
    char *const top = stack + Stacks::size - 64 * (serial % 61) - 128;
    void **const frame = reinterpret_cast<void **>(top); // on a multiple of 16: `entry` finds what a call leaves
    std::memset(frame, 0, (preserved + 2) * sizeof *frame);
    frame[preserved] = reinterpret_cast<void *>(entry); // and above it a null return address ends backtraces
    context.stack_pointer = frame;
}
void switch_stacks(Context &from, Context &to) {
    rrm_model_switch(&from.stack_pointer, to.stack_pointer);
}
#endif

// ---- Threads, warps, blocks.

enum class State : unsigned char { ready, at_warp_operation, at_barrier, exited };
enum class Operation : unsigned char { ballot, shuffle, sync };

const char *spelling(Operation operation) {
    constexpr const char *names[] = {"__ballot_sync", "__shfl_sync", "__syncwarp"};
    return names[static_cast<int>(operation)];
}

struct Block;
struct Warp;

struct Thread {
    Context context;
    char *stack = nullptr; // none before it runs and after it has exited
    Block *block = nullptr;
    Warp *warp = nullptr;
    Index index{};
    unsigned flat = 0, lane = 0;
    State state = State::ready;
    Operation operation{}; // the one it waits in, with its mask
    unsigned mask = 0;
    unsigned source = 0;
    std::uint64_t value = 0; // given to the operation, and then its result
    Races::Thread races;
};

// Lanes that have come to a warp operation and wait for others.
struct Gathering {
    Operation operation;
    unsigned mask, arrived;
};

struct Warp {
    Thread *threads = nullptr;
    unsigned present = 0; // lanes that exist and haven't exited
    bool starved = false;
    unsigned n_gatherings = 0;
    Gathering gatherings[warp_size];
};

struct SharedPart {
    const void *key;
    std::size_t size;
    unsigned char *bytes, *written;
};

struct Block {
    Index index{};
    unsigned n_present = 0, n_at_barrier = 0;
    const void *site = nullptr; // of the barrier where threads wait
    std::vector<Thread> threads;
    std::vector<Warp> warps;
    std::vector<SharedPart> shared;
    char made = 0; // for the race checker, only its address
};

// ---- Who runs next.

// Picks at random among the threads that can run, for a while not at all from some warps or blocks: what they would do
// comes as late as possible then. Some of the time it prefers the thread that became ready last, which lets one run
// ahead of the others.
class Scheduler {
  public:
    explicit Scheduler(Random &random) : random_(random) {}

    void start(std::unique_ptr<Block> block) {
        n_threads_ += block->threads.size();
        // Here, because a thread must not allocate memory in the eyes of the race checker.
        runnable_.reserve(n_threads_);
        held_.reserve(n_threads_);
        for (Thread &thread : block->threads) {
            add(thread);
        }
        blocks_.push_back(std::move(block));
    }
    std::unique_ptr<Block> end(const Block &block) {
        auto place = blocks_.begin();
        while (place->get() != &block) {
            ++place;
        }
        std::unique_ptr<Block> ended = std::move(*place);
        blocks_.erase(place);
        n_threads_ -= ended->threads.size();
        return ended;
    }
    [[nodiscard]] const std::vector<std::unique_ptr<Block>> &blocks() const {
        return blocks_;
    }

    void add(Thread &thread) {
        (thread.warp->starved ? held_ : runnable_).push_back(&thread);
    }
    // Null if no thread can run.
    Thread *take() {
        if (runnable_.empty() || left_ == 0) {
            change_mood();
            if (runnable_.empty()) {
                return nullptr;
            }
        }
        --left_;
        if (!newest_first_) {
            std::swap(runnable_[random_.below(static_cast<unsigned>(runnable_.size()))], runnable_.back());
        }
        Thread *const taken = runnable_.back();
        runnable_.pop_back();
        return taken;
    }

  private:
    Random &random_;
    std::vector<std::unique_ptr<Block>> blocks_;
    std::size_t n_threads_ = 0;
    std::vector<Thread *> runnable_, held_;
    std::uint64_t left_ = 0; // threads to take before the mood changes
    bool newest_first_ = false;

    void change_mood() {
        // Short enough to change often, long enough that going through all threads doesn't count.
        left_ = (n_threads_ / 2 + 16) << random_.below(5);
        newest_first_ = random_.one_in(4);
        starve();
        for (Thread *thread : held_) {
            runnable_.push_back(thread);
        }
        held_.clear();
        hold_starved();
        if (runnable_.empty()) {
            runnable_.swap(held_);
        }
    }
    void starve() {
        enum Mood { nobody, half_of_the_warps, most_warps, half_of_the_blocks, n_moods };
        const unsigned mood = random_.below(n_moods);
        for (const auto &block : blocks_) {
            const bool whole = mood == half_of_the_blocks && random_.one_in(2);
            for (Warp &warp : block->warps) {
                warp.starved = whole || (mood == half_of_the_warps && random_.one_in(2)) ||
                               (mood == most_warps && !random_.one_in(4));
            }
        }
    }
    void hold_starved() {
        std::size_t kept = 0;
        for (Thread *thread : runnable_) {
            if (thread->warp->starved) {
                held_.push_back(thread);
            } else {
                runnable_[kept++] = thread;
            }
        }
        runnable_.resize(kept);
    }
};

// ---- The machine.

struct Launch {
    const char *name;
    std::size_t dynamic_shared;
    const std::function<void()> *kernel;
    Scheduler scheduler;
};

Schedule schedule;
Random random_source(Schedule().seed);
Races races;
Stacks stacks;
Launch *launch = nullptr;  // the one that runs
Thread *current = nullptr; // null: the host
Thread *just_exited = nullptr;
Context host;

void resume(Thread *next);

[[noreturn]] void run_thread() {
#ifdef __SANITIZE_ADDRESS__
    // The first thread of all comes from the host, whose stack is known from here on.
    const void *bottom = nullptr;
    std::size_t size = 0;
    __sanitizer_finish_switch_fiber(nullptr, &bottom, &size);
    if (host.bottom == nullptr) {
        host.bottom = bottom;
        host.size = size;
    }
#endif
    (*launch->kernel)();
    Thread &self = *current;
    self.state = State::exited;
    just_exited = &self;
    races.leave(self.races);
    resume(nullptr);
    std::abort(); // nobody resumes it
}

void begin(Thread &thread) {
    thread.stack = stacks.take();
#ifdef __SANITIZE_ADDRESS__
    thread.context.bottom = thread.stack;
    thread.context.size = Stacks::size;
#endif
    prepare(thread.context, thread.stack, thread.flat, run_thread);
}

// Goes on with `next`, or with the host if null. Returns once the caller is to go on.
void resume(Thread *next) {
    Thread *const self = current;
    if (self == next) {
        return;
    }
    if (next == nullptr) {
        races.enter_host();
    } else {
        if (next->stack == nullptr) {
            begin(*next);
        }
        here.thread = next->index;
        here.block = next->block->index;
        races.enter(next->races);
    }
    Context &from = self == nullptr ? host : self->context;
    Context &to = next == nullptr ? host : next->context;
    current = next;
#ifdef __SANITIZE_ADDRESS__
    const bool for_good = self != nullptr && self->state == State::exited;
    __sanitizer_start_switch_fiber(for_good ? nullptr : &from.fake_stack, to.bottom, to.size);
    switch_stacks(from, to);
    __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#else
    switch_stacks(from, to);
#endif
}

// Lets others run until the current thread's turn comes again.
void let_others_run() {
    resume(launch->scheduler.take());
}
void make_ready(Thread &thread) {
    thread.state = State::ready;
    launch->scheduler.add(thread);
}

Thread &running(const char *what) {
    if (current == nullptr) {
        fail("%s outside of a kernel", what);
    }
    return *current;
}
[[noreturn]] void fail_in(Thread &thread, const char *what) {
    current = &thread;
    fail("%s", what);
}

// ---- Warp operations.

unsigned first_lane(unsigned mask) {
    return static_cast<unsigned>(__builtin_ctz(mask));
}
template <class Work> void for_each_lane(unsigned mask, Work work) {
    for (; mask != 0; mask &= mask - 1) {
        work(first_lane(mask));
    }
}

void check_mask(const Thread &self, unsigned mask, Operation operation) {
    if ((mask >> self.lane & 1) == 0) {
        fail("%s: the mask %08x lacks the caller, lane %u", spelling(operation), mask, self.lane);
    }
    const unsigned absent = mask & ~self.warp->present;
    if (absent != 0) {
        const unsigned lane = first_lane(absent);
        const bool existed = self.flat - self.lane + lane < self.block->threads.size();
        fail("%s: the mask %08x names lane %u, which %s", spelling(operation), mask, lane,
             existed ? "has exited" : "doesn't exist");
    }
}

// Two lanes that wait for each other in different operations will never meet.
void check_agreement(const Thread &self, const Gathering &other) {
    const unsigned awaited = other.arrived & self.mask;
    if (awaited != 0 && (other.mask >> self.lane & 1) != 0) {
        fail("lanes disagree: %s with mask %08x, but lane %u waits in %s with mask %08x", spelling(self.operation),
             self.mask, first_lane(awaited), spelling(other.operation), other.mask);
    }
}

Gathering &join(const Thread &self) {
    Warp &warp = *self.warp;
    Gathering *joined = nullptr;
    for (unsigned i = 0; i < warp.n_gatherings; ++i) {
        Gathering &gathering = warp.gatherings[i];
        if (gathering.operation == self.operation && gathering.mask == self.mask) {
            joined = &gathering;
        } else {
            check_agreement(self, gathering);
        }
    }
    if (joined == nullptr) {
        joined = &warp.gatherings[warp.n_gatherings++];
        *joined = {self.operation, self.mask, 0};
    }
    joined->arrived |= 1U << self.lane;
    return *joined;
}

void carry_out(Warp &warp, Operation operation, unsigned mask) {
    Thread *const threads = warp.threads;
    if (operation == Operation::ballot) {
        std::uint64_t votes = 0;
        for_each_lane(mask, [&](unsigned lane) { votes |= threads[lane].value << lane; });
        for_each_lane(mask, [&](unsigned lane) { threads[lane].value = votes; });
    } else if (operation == Operation::shuffle) {
        std::uint64_t given[warp_size];
        for_each_lane(mask, [&](unsigned lane) { given[lane] = threads[lane].value; });
        for_each_lane(mask, [&](unsigned lane) {
            const unsigned source = threads[lane].source;
            if (source >= warp_size || (mask >> source & 1) == 0) {
                current = &threads[lane];
                fail("__shfl_sync: reads from lane %u, which the mask %08x lacks", source, mask);
            }
            threads[lane].value = given[source];
        });
    } else {
        unsigned lanes[warp_size] = {}, count = 0;
        for_each_lane(mask, [&](unsigned lane) { lanes[count++] = lane; });
        races.meet(count, [&](unsigned i) -> Races::Thread & { return threads[lanes[i]].races; }, current->races);
    }
}

std::uint64_t meet_lanes(Operation operation, unsigned mask, std::uint64_t value, unsigned source) {
    Thread &self = running(spelling(operation));
    check_mask(self, mask, operation);
    self.operation = operation;
    self.mask = mask;
    self.value = value;
    self.source = source;
    Gathering &gathering = join(self);
    if (gathering.arrived != mask) {
        self.state = State::at_warp_operation;
        let_others_run();
        return self.value;
    }
    Warp &warp = *self.warp;
    gathering = warp.gatherings[--warp.n_gatherings];
    carry_out(warp, operation, mask);
    const bool go_on = random_source.one_in(2);
    for_each_lane(go_on ? mask & ~(1U << self.lane) : mask, [&](unsigned lane) { make_ready(warp.threads[lane]); });
    if (!go_on) {
        let_others_run();
    }
    return self.value;
}

// ---- Starting and ending blocks.

Index place(std::uint64_t flat, Index size) {
    return {static_cast<unsigned>(flat % size.x), static_cast<unsigned>(flat / size.x % size.y),
            static_cast<unsigned>(flat / size.x / size.y)};
}

std::unique_ptr<Block> make_block(std::uint64_t number) {
    const unsigned count = here.block_size.x * here.block_size.y * here.block_size.z;
    auto block = std::make_unique<Block>();
    block->index = place(number, here.grid_size);
    block->n_present = count;
    block->threads = std::vector<Thread>(count);
    block->warps = std::vector<Warp>((count + warp_size - 1) / warp_size);
    for (unsigned flat = 0; flat < count; ++flat) {
        Thread &thread = block->threads[flat];
        thread.block = block.get();
        thread.warp = &block->warps[flat / warp_size];
        thread.flat = flat;
        thread.lane = flat % warp_size;
        thread.index = place(flat, here.block_size);
        thread.warp->present |= 1U << thread.lane;
        if (thread.lane == 0) {
            thread.warp->threads = &thread;
        }
        races.create(thread.races);
    }
    return block;
}

void retire(std::unique_ptr<Block> block) {
    for (Thread &thread : block->threads) {
        races.retire(thread.races);
    }
    races.as_janitor([&] {
        for (const SharedPart &part : block->shared) {
            std::free(part.bytes);
            std::free(part.written);
        }
    });
}

// The thread has exited. Nobody may count on it any more.
void take_leave(Thread &thread) {
    stacks.give_back(std::exchange(thread.stack, nullptr));
    Block &block = *thread.block;
    Warp &warp = *thread.warp;
    warp.present &= ~(1U << thread.lane);
    for (unsigned i = 0; i < warp.n_gatherings; ++i) {
        const Gathering &gathering = warp.gatherings[i];
        if ((gathering.mask >> thread.lane & 1) != 0) {
            current = &warp.threads[first_lane(gathering.arrived)];
            fail("%s: the mask %08x names lane %u, which has exited", spelling(gathering.operation), gathering.mask,
                 thread.lane);
        }
    }
    if (block.n_at_barrier != 0) {
        fail_in(thread, "exits while other threads of the block wait at a __syncthreads");
    }
    if (--block.n_present == 0) {
        retire(launch->scheduler.end(block));
    }
}

[[noreturn]] void fail_deadlocked() {
    Block &block = *launch->scheduler.blocks().front();
    Thread *thread = block.threads.data();
    while (thread->state == State::exited) {
        ++thread;
    }
    if (thread->state == State::at_barrier) {
        fail_in(*thread, "deadlock: waits at a __syncthreads for threads that don't come");
    }
    unsigned missing = thread->mask;
    for (unsigned i = 0; i < thread->warp->n_gatherings; ++i) {
        const Gathering &gathering = thread->warp->gatherings[i];
        if ((gathering.arrived >> thread->lane & 1) != 0) {
            missing &= ~gathering.arrived;
        }
    }
    const Thread &awaited = thread->warp->threads[first_lane(missing)];
    current = thread;
    fail("deadlock: waits in %s with mask %08x for lane %u, which waits %s %s", spelling(thread->operation),
         thread->mask, awaited.lane, awaited.state == State::at_barrier ? "at a" : "in",
         awaited.state == State::at_barrier ? "__syncthreads" : spelling(awaited.operation));
}

void run_blocks(std::uint64_t count) {
    std::vector<unsigned> order(count);
    for (unsigned i = 0; i < count; ++i) {
        order[i] = i;
    }
    Scheduler &scheduler = launch->scheduler;
    const std::size_t resident = schedule.resident == 0 ? 1 : schedule.resident;
    while (!order.empty() || !scheduler.blocks().empty()) {
        while (!order.empty() && scheduler.blocks().size() < resident) {
            std::swap(order[random_source.below(static_cast<unsigned>(order.size()))], order.back());
            scheduler.start(make_block(order.back()));
            order.pop_back();
        }
        just_exited = nullptr;
        resume(scheduler.take());
        if (just_exited == nullptr) { // only then nobody was left to run
            fail_deadlocked();
        }
        take_leave(*just_exited);
    }
}

// ---- Registered memory, and counts.

struct Range {
    std::uintptr_t begin, end;
    bool writable;
};
std::vector<Range> registered;
Range recent{}; // the one touched last

void find_range(std::uintptr_t begin, std::size_t size, bool write) {
    for (const Range &range : registered) {
        if (begin >= range.begin && begin + size <= range.end && (range.writable || !write)) {
            recent = range;
            return;
        }
    }
    fail("%s %zu bytes at %#zx, which isn't in registered%s memory", write ? "writes" : "reads", size,
         static_cast<std::size_t>(begin), write ? " writable" : "");
}

struct KernelCosts {
    std::uint64_t launches = 0, bytes_read = 0, bytes_written = 0;
};
std::map<std::string, KernelCosts> costs_of;

void add_costs(const std::string &kernel) {
    KernelCosts &so_far = costs_of[kernel];
    ++so_far.launches;
    so_far.bytes_read += counted.read;
    so_far.bytes_written += counted.written;
    counted = {};
}

bool ptx_wanted = false;

std::string readable(const char *name) {
    int status = 0;
    const std::unique_ptr<char, decltype(&std::free)> demangled(abi::__cxa_demangle(name, nullptr, nullptr, &status),
                                                                std::free);
    return demangled == nullptr ? name : demangled.get();
}

} // namespace

// ---- The interface.

void configure(const Schedule &wanted) {
    schedule = wanted;
    random_source = Random(wanted.seed);
}

bool launchable(Index grid, Index block) {
    const auto within = [](Index size, std::uint64_t x, std::uint64_t y, std::uint64_t z) {
        return size.x - 1 < x && size.y - 1 < y && size.z - 1 < z; // 0 wraps around
    };
    return within(grid, 0x7fffffff, 65535, 65535) && within(block, 1024, 1024, 64) &&
           std::uint64_t{block.x} * block.y * block.z <= 1024;
}

void run(const char *name, Index grid, Index block, std::size_t dynamic_shared, const std::function<void()> &kernel) {
    if (launch != nullptr) {
        fail("a kernel starts another");
    }
    Launch launched{name, dynamic_shared, &kernel, Scheduler(random_source)};
    launch = &launched;
    const std::uint64_t count = std::uint64_t{grid.x} * grid.y * grid.z;
    if (!launchable(grid, block) || count > 1U << 31 || dynamic_shared > shared_limit) {
        fail("launched with sizes that CUDA refuses");
    }
    here = {{}, {}, block, grid};
    counted = {};
    races.begin_launch();
    run_blocks(count);
    races.end_launch();
    launch = nullptr;
    add_costs(name);
}

Index thread_index() {
    running("thread_index");
    return here.thread;
}
Index block_index() {
    running("block_index");
    return here.block;
}
Index block_size() {
    running("block_size");
    return here.block_size;
}
Index grid_size() {
    running("grid_size");
    return here.grid_size;
}
unsigned lane() {
    return running("lane").lane;
}

unsigned ballot(unsigned mask, bool vote) {
    return static_cast<unsigned>(meet_lanes(Operation::ballot, mask, vote ? 1 : 0, 0));
}
std::uint64_t shuffle(unsigned mask, std::uint64_t value, unsigned lane) {
    return meet_lanes(Operation::shuffle, mask, value, lane);
}
void sync_warp(unsigned mask) {
    meet_lanes(Operation::sync, mask, 0, 0);
}

void sync_block(const void *site) {
    Thread &self = running("__syncthreads");
    Block &block = *self.block;
    const std::size_t count = block.threads.size();
    if (block.n_present != count) {
        fail("waits at a __syncthreads, but another thread of the block has exited");
    }
    if (block.n_at_barrier != 0 && block.site != site) {
        fail("waits at another __syncthreads than other threads of the block");
    }
    block.site = site;
    if (++block.n_at_barrier != count) {
        self.state = State::at_barrier;
        let_others_run();
        return;
    }
    block.n_at_barrier = 0;
    races.meet(block.n_present, [&](unsigned i) -> Races::Thread & { return block.threads[i].races; }, self.races);
    for (Thread &thread : block.threads) {
        make_ready(thread);
    }
    let_others_run();
}

void fence() {
    races.fence(running("__threadfence").races);
    give_way();
}

void give_way() {
    if (current != nullptr && schedule.preempt != 0 && random_source.one_in(schedule.preempt)) {
        make_ready(*current);
        let_others_run();
    }
}

void atomic_read(const void *address) {
    if (current != nullptr) {
        races.atomic_read(current->races, const_cast<void *>(address));
    }
}
void atomic_written(const void *address) {
    if (current != nullptr) {
        races.atomic_written(current->races, const_cast<void *>(address));
    }
}

Shared shared(const void *key, std::size_t size) {
    Thread &self = running("shared memory");
    Block &block = *self.block;
    std::size_t total = 0;
    for (const SharedPart &part : block.shared) {
        if (part.key == key) {
            races.see_made(&block.made);
            return {part.bytes, part.written};
        }
        total += part.size;
    }
    const bool dynamic = key == nullptr;
    if (size > (dynamic ? launch->dynamic_shared : static_shared_limit - total)) {
        fail("%zu bytes of %s shared memory are more than there is", size, dynamic ? "dynamic" : "static");
    }
    constexpr int poison = 0xa5;
    SharedPart part{key, size, nullptr, nullptr};
    races.as_host(
        [&] {
            // Of exactly this size, for AddressSanitizer to see what lies outside.
            part.bytes = static_cast<unsigned char *>(std::malloc(size));
            part.written = static_cast<unsigned char *>(std::calloc(size, 1));
            std::memset(part.bytes, poison, size);
            block.shared.push_back(part);
        },
        self.races, &block.made);
    races.see_made(&block.made);
    return {part.bytes, part.written};
}

void fail(const char *format, ...) {
    std::fflush(stdout);
    std::fputs("model of CUDA: ", stderr);
    if (launch != nullptr) {
        std::fprintf(stderr, "%s: ", readable(launch->name).c_str());
    }
    if (current != nullptr) {
        const Index block = current->block->index, thread = current->index;
        std::fprintf(stderr, "block (%u, %u, %u), thread (%u, %u, %u): ", block.x, block.y, block.z, thread.x, thread.y,
                     thread.z);
    }
    std::va_list arguments;
    va_start(arguments, format);
    std::vfprintf(stderr, format, arguments);
    va_end(arguments);
    std::fputc('\n', stderr);
    std::fflush(stderr);
    std::_Exit(86);
}

void register_memory(const void *begin, std::size_t size, bool writable) {
    const auto address = reinterpret_cast<std::uintptr_t>(begin);
    registered.push_back({address, address + size, writable});
    memory_registered = true;
}
void forget_memory() {
    registered.clear();
    recent = {};
    memory_registered = false;
}
void check_range(const void *begin, std::size_t size, bool write) {
    const auto address = reinterpret_cast<std::uintptr_t>(begin);
    const bool known = address >= recent.begin && address + size <= recent.end && (recent.writable || !write);
    if (!known && memory_registered) {
        find_range(address, size, write);
    }
}
void check_memory(const void *address, std::size_t size, bool write) {
    if (memory_registered && reinterpret_cast<std::uintptr_t>(address) % size != 0) {
        fail("%s %zu bytes at %p, misaligned", write ? "writes" : "reads", size, address);
    }
    check_range(address, size, write);
}

void count_read(std::size_t bytes) {
    counted.read += bytes;
}
void count_written(std::size_t bytes) {
    counted.written += bytes;
}
std::size_t costs(Cost *into, std::size_t room) {
    for (const auto &[kernel, so_far] : costs_of) {
        if (room == 0) {
            break;
        }
        --room;
        *into++ = {kernel.c_str(), so_far.launches, so_far.bytes_read, so_far.bytes_written};
    }
    return costs_of.size();
}
void forget_costs() {
    costs_of.clear();
}

const char *kernel_name(const void *kernel) {
    Dl_info found;
    if (dladdr(kernel, &found) == 0 || found.dli_sname == nullptr || found.dli_saddr != kernel) {
        fail("a kernel has no name that dladdr finds: link with -rdynamic, and give it external linkage");
    }
    return found.dli_sname;
}

void use_ptx(bool wanted) {
    ptx_wanted = wanted;
}
Translated *translated(const void *kernel) {
    if (!ptx_wanted) {
        return nullptr;
    }
    const std::string symbol = std::string("ptx_") + kernel_name(kernel);
    void *const found = dlsym(RTLD_DEFAULT, symbol.c_str());
    if (found == nullptr) {
        fail("there is no translation %s", symbol.c_str());
    }
    return reinterpret_cast<Translated *>(found);
}

} // namespace model
