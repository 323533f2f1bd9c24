#include "training.h"

#include "batch_record.h"

namespace rrm::cuda {

template <class V, class Index>
Error record_batch(const LossStore<V> &store, const Batch<V, Index> &batch, std::int32_t epoch,
                   const WeightedTerms<V> &result, const Tuning &tuning, Stream stream) {
    const std::int64_t blocks = (batch.size + tuning.threads - 1) / tuning.threads;
    return gpu::launch(record_losses<V, Index>, static_cast<unsigned>(blocks), static_cast<unsigned>(tuning.threads),
                       stream, store, batch, epoch, result);
}

#define RRM_INSTANTIATE(V, Index)                                                                                      \
    template Error record_batch<V, Index>(const LossStore<V> &, const Batch<V, Index> &, std::int32_t,                 \
                                          const WeightedTerms<V> &, const Tuning &, Stream);

RRM_INSTANTIATE(float, std::int32_t)
RRM_INSTANTIATE(float, std::int64_t)
RRM_INSTANTIATE(double, std::int32_t)
RRM_INSTANTIATE(double, std::int64_t)

} // namespace rrm::cuda
