// A stand-in for CUDA's runtime library, for a module that nvcc built and a machine without a GPU. Its kernels are
// their own PTX, translated by ptx_to_cpp.py, on the model of CUDA's execution in machine.h.
//
// Nothing runs when it is enqueued, but when somebody waits for it, or when finish_all says so: as late as streams and
// events allow, or in a random order that they allow (see Order). What was not ordered after its producer then reads
// what was there before. Memory is given back in the order of a stream too, and filled with rubbish.
//
// The functions at the end, stand_in_*, are for tests: stand_in.py calls them.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "../model/machine.h"

// What stand_in.py writes about the kernels of a PTX file.
struct TranslatedKernel {
    const char *name; // mangled
    void (*run)(void **parameters);
    std::vector<std::size_t> sizes; // of the parameters, in bytes
};
extern const std::vector<TranslatedKernel> translated_kernels;

namespace {

using Address = std::uintptr_t;

enum class Order : int {
    late,   // nothing but what somebody waits for, and what that waits for
    random, // whatever may run, until that has run
    eager,  // at once
};

struct Operation {
    std::function<void()> work;
    std::vector<std::size_t> after; // what has to be done before
    bool done = false;
};

struct Stream {
    int device;
    bool blocking; // orders itself with the device's legacy default stream
    std::size_t last = 0;
};

struct Event {
    int device;
    std::size_t recorded = 0;
    Address stream = 0;
};

struct Region {
    std::size_t size;
    int device;
    bool managed, writable;
    bool owned; // by the stand-in
};

struct Machine {
    int devices = 2, capability = 90; // the latter times ten
    cudaError_t driver = cudaSuccess; // what every call returns
    Order order = Order::late;
    std::mt19937_64 random{1};
    int claimed = -1; // the device whose memory all memory is, without checks; -1: only what is registered is anybody's

    std::vector<Operation> operations{{{}, {}, true}};         // the first stands for none
    std::vector<std::size_t> pending;                          // those that aren't done
    std::map<std::pair<int, Address>, Stream> default_streams; // legacy (1), and per thread (2), of each device
    std::map<Address, std::unique_ptr<Stream>> streams;
    std::map<cudaEvent_t, std::unique_ptr<Event>> events;
    std::map<Address, Region> regions;
    std::string log;
    std::map<std::string, std::pair<int, cudaError_t>> failures; // call: how many from now on, and with what
};

std::recursive_mutex mutex;
Machine machine;
std::string lost; // why the device is lost: the model can't go on after a failure

thread_local int current_device = 0;
thread_local cudaError_t last_error = cudaSuccess;

struct Configuration {
    dim3 grid, block;
    std::size_t shared;
    cudaStream_t stream;
};
thread_local std::vector<Configuration> configurations;

std::map<const void *, const TranslatedKernel *> &kernels() {
    static std::map<const void *, const TranslatedKernel *> registered; // before other statics are there
    return registered;
}

template <class... Words> void note(const char *what, const Words &...words) {
    machine.log += what;
    ((machine.log += '\t', machine.log += words), ...);
    machine.log += '\n';
}

std::string text(Address number) {
    return std::to_string(number);
}

std::string text(dim3 size) {
    return std::to_string(size.x) + "," + std::to_string(size.y) + "," + std::to_string(size.z);
}

template <class T> Address address_of(T *p) {
    return reinterpret_cast<Address>(p);
}

cudaError_t failed(cudaError_t error) {
    if (error != cudaSuccess) {
        last_error = error;
    }
    return error;
}

// What every call returns instead of working, if anything.
cudaError_t broken(const char *call) {
    if (machine.driver != cudaSuccess) {
        return machine.driver;
    }
    if (!lost.empty()) {
        return cudaErrorLaunchFailure;
    }
    const auto found = machine.failures.find(call);
    return found != machine.failures.end() && --found->second.first == 0 ? found->second.second : cudaSuccess;
}

void lose(const std::string &why) {
    lost = why;
    std::fprintf(stderr, "stand-in for CUDA: %s\n", why.c_str());
}

// ---- The model ends the program when a kernel does what CUDA calls undefined. Here that loses the device, as it does
// on a GPU, and leaves the message to whoever reads stderr.
void *way_out[5];
bool in_model = false;

[[gnu::noinline]] void run_guarded(const std::function<void()> &work) {
    if (__builtin_setjmp(way_out) == 0) {
        in_model = true;
        work();
    } else {
        lose("the model of CUDA's execution gave up, see above");
    }
    in_model = false;
}

// ---- Memory
std::map<Address, Region>::iterator region_of(Address address) {
    auto after = machine.regions.upper_bound(address);
    if (after == machine.regions.begin()) {
        return machine.regions.end();
    }
    --after;
    return address < after->first + after->second.size ? after : machine.regions.end();
}

bool is_known(Address address, std::size_t size) {
    const auto region = region_of(address);
    return machine.claimed >= 0 ||
           (region != machine.regions.end() && address + size <= region->first + region->second.size);
}

void require_known(Address address, std::size_t size, const char *what) {
    if (!is_known(address, size) && lost.empty()) {
        lose(std::string(what) + " touches " + std::to_string(size) + " bytes of no device's memory");
    }
}

void show_memory_to_model(int device) {
    model::forget_memory();
    if (machine.claimed >= 0) {
        return;
    }
    static const char none = 0; // so that there is something registered, and everything else is refused
    model::register_memory(&none, 1, false);
    for (const auto &[address, region] : machine.regions) {
        if (region.device == device || region.managed) {
            // NOLINTNEXTLINE(performance-no-int-to-ptr)
            model::register_memory(reinterpret_cast<const void *>(address), region.size, region.writable);
        }
    }
}

// ---- Streams
Stream *stream_of(Address handle) {
    if (handle <= 2) {
        const Address which = handle == 2 ? 2 : 1;
        return &machine.default_streams.try_emplace({current_device, which}, Stream{current_device, true})
                    .first->second;
    }
    const auto found = machine.streams.find(handle);
    return found == machine.streams.end() ? nullptr : found->second.get();
}

void do_now(std::size_t number) {
    Operation &operation = machine.operations[number];
    const auto work = std::move(operation.work);
    operation.done = true;
    operation.after.clear();
    machine.pending.erase(std::find(machine.pending.begin(), machine.pending.end(), number));
    if (work && lost.empty()) {
        work();
    }
}

bool is_ready(std::size_t number) {
    const auto &after = machine.operations[number].after;
    return std::all_of(after.begin(), after.end(), [](std::size_t other) { return machine.operations[other].done; });
}

void do_any() {
    std::vector<std::size_t> ready;
    std::copy_if(machine.pending.begin(), machine.pending.end(), std::back_inserter(ready), is_ready);
    do_now(ready[machine.random() % ready.size()]);
}

void finish(std::size_t number) {
    while (machine.order == Order::random && !machine.operations[number].done) {
        do_any();
    }
    std::vector<std::size_t> wanted{number};
    while (!wanted.empty()) {
        const std::size_t next = wanted.back();
        if (machine.operations[next].done) {
            wanted.pop_back();
        } else if (is_ready(next)) {
            do_now(next);
        } else {
            auto after = machine.operations[next].after;
            std::shuffle(after.begin(), after.end(), machine.random); // which comes first is nobody's promise
            wanted.insert(wanted.end(), after.begin(), after.end());
        }
    }
}

std::size_t enqueue(Stream &stream, std::function<void()> work, std::vector<std::size_t> after = {}) {
    const std::size_t number = machine.operations.size();
    after.push_back(stream.last);
    const auto see = [&](const Stream &other) {
        if (&other != &stream && other.device == stream.device && other.blocking) {
            after.push_back(other.last);
        }
    };
    const Stream &legacy =
        machine.default_streams.try_emplace({stream.device, 1}, Stream{stream.device, true}).first->second;
    if (&stream == &legacy) {
        for (const auto &[_, other] : machine.default_streams) {
            see(other);
        }
        for (const auto &[_, other] : machine.streams) {
            see(*other);
        }
    } else if (stream.blocking) {
        see(legacy);
    }
    machine.operations.push_back({std::move(work), std::move(after), false});
    machine.pending.push_back(number);
    stream.last = number;
    if (machine.order == Order::eager) {
        finish(number);
    }
    return number;
}

// ---- Launches
void run_kernel(const TranslatedKernel &kernel, model::Index grid, model::Index block, int device,
                std::vector<std::vector<unsigned char>> &arguments) {
    std::vector<void *> parameters;
    for (auto &bytes : arguments) {
        parameters.push_back(bytes.data());
    }
    show_memory_to_model(device);
    model::configure({machine.random(), 4, 8});
    run_guarded([&] { model::run(kernel.name, grid, block, 0, [&] { kernel.run(parameters.data()); }); });
}

cudaError_t launch(const TranslatedKernel *kernel, dim3 grid, dim3 block, void **arguments, std::size_t shared,
                   cudaStream_t handle) {
    const std::lock_guard lock(mutex);
    const cudaError_t error = broken("cudaLaunchKernel");
    if (error != cudaSuccess) {
        return failed(error);
    }
    Stream *stream = stream_of(address_of(handle));
    if (stream == nullptr || stream->device != current_device) {
        return failed(cudaErrorInvalidResourceHandle);
    }
    const model::Index blocks{grid.x, grid.y, grid.z}, threads{block.x, block.y, block.z};
    if (!model::launchable(blocks, threads) || shared != 0) {
        return failed(cudaErrorInvalidConfiguration);
    }
    std::vector<std::vector<unsigned char>> copies; // the caller's are gone when it runs
    for (std::size_t i = 0; i < kernel->sizes.size(); ++i) {
        const auto *bytes = static_cast<const unsigned char *>(arguments[i]);
        copies.emplace_back(bytes, bytes + kernel->sizes[i]);
    }
    note("launch", text(static_cast<Address>(current_device)), text(address_of(handle)), kernel->name, text(grid),
         text(block));
    enqueue(*stream, [=, device = current_device]() mutable { run_kernel(*kernel, blocks, threads, device, copies); });
    return cudaSuccess;
}

// Copies n elements, a stride apart on either side.
void copy_elements(Address to, std::int64_t to_stride, Address from, std::int64_t from_stride, std::size_t size,
                   std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) {
        // NOLINTNEXTLINE(performance-no-int-to-ptr)
        std::memcpy(reinterpret_cast<void *>(to + static_cast<Address>(i * to_stride)),
                    reinterpret_cast<const void *>(from + static_cast<Address>(i * from_stride)), size); // NOLINT
    }
}

void wait_for(Stream &stream, Stream &producer) {
    const std::size_t reached = enqueue(producer, {});
    enqueue(stream, {}, {reached});
}

// The rest of a call that only needs a stream.
template <class Work> cudaError_t on_stream(const char *call, cudaStream_t handle, Work work) {
    const std::lock_guard lock(mutex);
    const cudaError_t error = broken(call);
    if (error != cudaSuccess) {
        return failed(error);
    }
    Stream *stream = stream_of(address_of(handle));
    return failed(stream == nullptr ? cudaErrorInvalidResourceHandle : work(*stream));
}

const std::map<cudaError_t, std::pair<const char *, const char *>> errors = {
    {cudaSuccess, {"cudaSuccess", "no error"}},
    {cudaErrorInvalidValue, {"cudaErrorInvalidValue", "invalid argument"}},
    {cudaErrorMemoryAllocation, {"cudaErrorMemoryAllocation", "out of memory"}},
    {cudaErrorInvalidConfiguration, {"cudaErrorInvalidConfiguration", "invalid configuration argument"}},
    {cudaErrorInsufficientDriver,
     {"cudaErrorInsufficientDriver", "CUDA driver version is insufficient for CUDA runtime version"}},
    {cudaErrorInvalidDeviceFunction, {"cudaErrorInvalidDeviceFunction", "invalid device function"}},
    {cudaErrorNoDevice, {"cudaErrorNoDevice", "no CUDA-capable device is detected"}},
    {cudaErrorInvalidDevice, {"cudaErrorInvalidDevice", "invalid device ordinal"}},
    {cudaErrorInvalidResourceHandle, {"cudaErrorInvalidResourceHandle", "invalid resource handle"}},
    {cudaErrorIllegalAddress, {"cudaErrorIllegalAddress", "an illegal memory access was encountered"}},
    {cudaErrorLaunchFailure, {"cudaErrorLaunchFailure", "unspecified launch failure"}},
};

} // namespace

extern "C" {

[[noreturn]] void __real__Exit(int code);
[[noreturn]] void __wrap__Exit(int code) { // the linker calls this in place of _Exit
    if (in_model) {
        __builtin_longjmp(way_out, 1);
    }
    __real__Exit(code);
}

// ---- What the code that nvcc generates calls.
void **__cudaRegisterFatBinary(void *) {
    static void *handle;
    return &handle;
}
void __cudaRegisterFatBinaryEnd(void **) {}
void __cudaUnregisterFatBinary(void **) {}
char __cudaInitModule(void **) {
    return 1;
}

void __cudaRegisterFunction(void **, const char *host, char *, const char *name, int, uint3 *, uint3 *, dim3 *, dim3 *,
                            int *) {
    for (const TranslatedKernel &kernel : translated_kernels) {
        if (std::strcmp(kernel.name, name) == 0) {
            kernels()[host] = &kernel;
        }
    }
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared, CUstream_st *stream) {
    configurations.push_back({grid, block, shared, stream});
    return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, std::size_t *shared, void *stream) {
    const Configuration &last = configurations.back();
    *grid = last.grid;
    *block = last.block;
    *shared = last.shared;
    *static_cast<cudaStream_t *>(stream) = last.stream;
    configurations.pop_back();
    return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t *kernel, const void *host) {
    const auto found = kernels().find(host);
    if (found == kernels().end()) {
        return failed(cudaErrorInvalidDeviceFunction);
    }
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): CUDA's type for a handle
    *kernel = reinterpret_cast<cudaKernel_t>(const_cast<TranslatedKernel *>(found->second));
    return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **arguments, std::size_t shared,
                               cudaStream_t stream) {
    return launch(reinterpret_cast<const TranslatedKernel *>(kernel), grid, block, arguments, shared, stream);
}
cudaError_t cudaLaunchKernel(const void *host, dim3 grid, dim3 block, void **arguments, std::size_t shared,
                             cudaStream_t stream) {
    cudaKernel_t kernel = nullptr;
    const cudaError_t error = __cudaGetKernel(&kernel, host);
    return error != cudaSuccess ? error : __cudaLaunchKernel(kernel, grid, block, arguments, shared, stream);
}

// ---- Errors
cudaError_t cudaGetLastError() {
    return std::exchange(last_error, cudaSuccess);
}
const char *cudaGetErrorName(cudaError_t error) {
    const auto found = errors.find(error);
    return found == errors.end() ? "unrecognized error code" : found->second.first;
}
const char *cudaGetErrorString(cudaError_t error) {
    const auto found = errors.find(error);
    return found == errors.end() ? "unrecognized error code" : found->second.second;
}

// ---- Devices
cudaError_t cudaGetDeviceCount(int *count) {
    const std::lock_guard lock(mutex);
    const cudaError_t error = broken("cudaGetDeviceCount");
    *count = error == cudaSuccess ? machine.devices : 0;
    return failed(error == cudaSuccess && machine.devices == 0 ? cudaErrorNoDevice : error);
}
cudaError_t cudaGetDevice(int *device) {
    const std::lock_guard lock(mutex);
    *device = current_device;
    return failed(broken("cudaGetDevice"));
}
cudaError_t cudaSetDevice(int device) {
    const std::lock_guard lock(mutex);
    cudaError_t error = broken("cudaSetDevice");
    if (error == cudaSuccess && (device < 0 || device >= machine.devices)) {
        error = cudaErrorInvalidDevice;
    }
    if (error == cudaSuccess) {
        current_device = device;
        note("device", text(static_cast<Address>(device)));
    }
    return failed(error);
}
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device) {
    const std::lock_guard lock(mutex);
    cudaError_t error = broken("cudaDeviceGetAttribute");
    if (error == cudaSuccess && (device < 0 || device >= machine.devices)) {
        error = cudaErrorInvalidDevice;
    }
    if (attribute == cudaDevAttrMultiProcessorCount) {
        *value = device == 0 ? 2 : 3;
    } else if (attribute == cudaDevAttrComputeCapabilityMajor) {
        *value = machine.capability / 10;
    } else if (attribute == cudaDevAttrComputeCapabilityMinor) {
        *value = machine.capability % 10;
    } else if (error == cudaSuccess) {
        error = cudaErrorInvalidValue;
    }
    return failed(error);
}
cudaError_t cudaDeviceSynchronize() {
    const std::lock_guard lock(mutex);
    note("synchronize", text(static_cast<Address>(current_device)), "all");
    while (!machine.pending.empty()) {
        finish(machine.pending.back());
    }
    return failed(broken("cudaDeviceSynchronize"));
}

// ---- Memory
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *attributes, const void *pointer) {
    const std::lock_guard lock(mutex);
    *attributes = {};
    attributes->type = cudaMemoryTypeUnregistered;
    const cudaError_t error = broken("cudaPointerGetAttributes");
    const auto region = region_of(address_of(pointer));
    if (error == cudaSuccess && region != machine.regions.end()) {
        attributes->type = region->second.managed ? cudaMemoryTypeManaged : cudaMemoryTypeDevice;
        attributes->device = region->second.device;
    } else if (error == cudaSuccess && machine.claimed >= 0) {
        attributes->type = cudaMemoryTypeDevice;
        attributes->device = machine.claimed;
    }
    return failed(error);
}

cudaError_t cudaMalloc(void **memory, std::size_t size) { // nobody should: memory is the caller's framework's
    const std::lock_guard lock(mutex);
    note("allocate", text(static_cast<Address>(current_device)), text(size));
    *memory = nullptr;
    return failed(cudaErrorMemoryAllocation);
}
cudaError_t cudaMallocAsync(void **memory, std::size_t size, cudaStream_t) {
    return cudaMalloc(memory, size);
}
cudaError_t cudaFree(void *) {
    return cudaSuccess;
}
cudaError_t cudaFreeAsync(void *, cudaStream_t) {
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, std::size_t size, cudaMemcpyKind kind, cudaStream_t handle) {
    return on_stream("cudaMemcpyAsync", handle, [&](Stream &stream) {
        note("copy", text(static_cast<Address>(stream.device)), text(address_of(handle)), text(size));
        const std::size_t copy = enqueue(stream, [=] {
            if (kind != cudaMemcpyHostToDevice) {
                require_known(address_of(from), size, "cudaMemcpyAsync");
            }
            if (kind != cudaMemcpyDeviceToHost) {
                require_known(address_of(to), size, "cudaMemcpyAsync");
            }
            if (lost.empty()) {
                std::memcpy(to, from, size);
            }
        });
        if (kind == cudaMemcpyDeviceToHost) { // into pageable memory: CUDA waits, too
            finish(copy);
        }
        return cudaSuccess;
    });
}

cudaError_t cudaMemsetAsync(void *memory, int value, std::size_t size, cudaStream_t handle) {
    return on_stream("cudaMemsetAsync", handle, [&](Stream &stream) {
        note("set", text(static_cast<Address>(stream.device)), text(address_of(handle)), text(size));
        enqueue(stream, [=] {
            require_known(address_of(memory), size, "cudaMemsetAsync");
            if (lost.empty()) {
                std::memset(memory, value, size);
            }
        });
        return cudaSuccess;
    });
}

// ---- Streams and events
cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
    return on_stream("cudaStreamSynchronize", handle, [&](Stream &stream) {
        note("synchronize", text(static_cast<Address>(stream.device)), text(address_of(handle)));
        finish(stream.last);
        return lost.empty() ? cudaSuccess : cudaErrorLaunchFailure;
    });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned) {
    const std::lock_guard lock(mutex);
    const cudaError_t error = broken("cudaEventCreateWithFlags");
    if (error == cudaSuccess) {
        auto created = std::make_unique<Event>(Event{current_device});
        *event = reinterpret_cast<cudaEvent_t>(created.get());
        machine.events[*event] = std::move(created);
    }
    return failed(error);
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle) {
    return on_stream("cudaEventRecord", handle, [&](Stream &stream) {
        const auto found = machine.events.find(event);
        if (found == machine.events.end() || found->second->device != stream.device) {
            return cudaErrorInvalidResourceHandle;
        }
        found->second->recorded = enqueue(stream, {});
        found->second->stream = address_of(handle);
        return cudaSuccess;
    });
}
cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
    return on_stream("cudaStreamWaitEvent", handle, [&](Stream &stream) {
        const auto found = machine.events.find(event);
        if (found == machine.events.end()) {
            return cudaErrorInvalidResourceHandle;
        }
        note("wait", text(static_cast<Address>(stream.device)), text(address_of(handle)), text(found->second->stream));
        enqueue(stream, {}, {found->second->recorded});
        return cudaSuccess;
    });
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    const std::lock_guard lock(mutex);
    return failed(machine.events.erase(event) == 1 ? cudaSuccess : cudaErrorInvalidResourceHandle);
}

// ---- For tests.
void stand_in_reset(int devices, int driver, int order, std::uint64_t seed) {
    const std::lock_guard lock(mutex);
    for (const auto &[address, region] : machine.regions) {
        if (region.owned) {
            std::free(reinterpret_cast<void *>(address)); // NOLINT(performance-no-int-to-ptr)
        }
    }
    machine = {};
    machine.devices = devices;
    machine.driver = static_cast<cudaError_t>(driver);
    machine.order = static_cast<Order>(order);
    machine.random.seed(seed);
    current_device = 0;
    last_error = cudaSuccess;
}

void stand_in_set_capability(int times_ten) {
    const std::lock_guard lock(mutex);
    machine.capability = times_ten;
}

const char *stand_in_lost() {
    return lost.c_str();
}

const char *stand_in_log() {
    return machine.log.c_str();
}
void stand_in_clear_log() {
    machine.log.clear();
}

// Bytes that kernels with `part` in their name have read.
std::uint64_t stand_in_bytes_read(const char *part) {
    model::Cost costs[256];
    const std::size_t n = model::costs(costs, 256);
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < n; ++i) {
        bytes += std::strstr(costs[i].kernel, part) == nullptr ? 0 : costs[i].bytes_read;
    }
    return bytes;
}

int stand_in_current_device() {
    return current_device;
}
void stand_in_set_current_device(int device) {
    current_device = device;
}

// The `nth` call from now on of that name fails; 1 is the next one.
void stand_in_fail(const char *call, int nth, int error) {
    machine.failures[call] = {nth, static_cast<cudaError_t>(error)};
}

// From now on all memory is that device's, unless it is registered, and nothing checks it.
void stand_in_claim(int device) {
    machine.claimed = device;
}

Address stand_in_create_stream(int device, int blocking) {
    auto stream = std::make_unique<Stream>(Stream{device, blocking != 0});
    const Address handle = address_of(stream.get());
    machine.streams[handle] = std::move(stream);
    return handle;
}

void stand_in_protect(Address address) {
    machine.regions.at(address).writable = false;
}

} // extern "C"

namespace {

// Runs `work` with the default streams of a device as the current ones.
template <class Work> void at(int device, Work work) {
    const std::lock_guard lock(mutex);
    const int before = std::exchange(current_device, device);
    work();
    current_device = before;
}

} // namespace

extern "C" {

// Memory as the caching allocators of the frameworks give it: until the stream has come this far, it is another's, who
// may still write there.
Address stand_in_allocate(int device, Address handle, std::size_t size, int managed) {
    const std::size_t padded = (std::max<std::size_t>(size, 1) + 255) / 256 * 256;
    void *memory = std::aligned_alloc(256, padded);
    at(device, [&] {
        machine.regions[address_of(memory)] = {size, device, managed != 0, true, true};
        enqueue(*stream_of(handle), [=] { std::memset(memory, 0xa5, padded); });
    });
    return address_of(memory);
}

// And from there on it is another's again.
void stand_in_free(int device, Address handle, Address address) {
    at(device, [&] {
        if (machine.regions.find(address) == machine.regions.end()) {
            return; // it was there before a reset
        }
        enqueue(*stream_of(handle), [=] {
            const auto region = machine.regions.find(address);
            void *memory = reinterpret_cast<void *>(address); // NOLINT(performance-no-int-to-ptr)
            std::memset(memory, 0x5a, region->second.size);
            machine.regions.erase(region);
            std::free(memory);
        });
    });
}

void stand_in_order(int device, Address handle, Address producer) {
    at(device, [&] { wait_for(*stream_of(handle), *stream_of(producer)); });
}

// Either side may be a device's memory; what the host gives is taken at once.
void stand_in_copy(int device, Address handle, Address to, std::int64_t to_stride, Address from,
                   std::int64_t from_stride, std::size_t size, std::int64_t n, int from_host) {
    at(device, [&] {
        if (from_host == 0) {
            enqueue(*stream_of(handle), [=] { copy_elements(to, to_stride, from, from_stride, size, n); });
            return;
        }
        std::vector<unsigned char> taken(size * static_cast<std::size_t>(n));
        const auto packed = static_cast<std::int64_t>(size);
        copy_elements(address_of(taken.data()), packed, from, from_stride, size, n);
        enqueue(*stream_of(handle), [=, taken = std::move(taken)] {
            copy_elements(to, to_stride, address_of(taken.data()), packed, size, n);
        });
    });
}

void stand_in_finish(int device, Address handle) {
    at(device, [&] { finish(enqueue(*stream_of(handle), {})); });
}

void stand_in_finish_all() {
    const std::lock_guard lock(mutex);
    while (!machine.pending.empty()) {
        do_any();
    }
}

} // extern "C"
