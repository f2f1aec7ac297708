// The stand-in for the CUDA runtime: what a host program may rely on, what it refuses, and failures on demand.
#include <cuda_runtime.h>

#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "tests/simt/control.h"
#include "tests/simt/probe_kernels.h"

namespace countermark {
namespace {

class RuntimeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    simt::Configure({});
    ASSERT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess);
  }
  void TearDown() override {
    simt::ClearFailures();
    EXPECT_EQ(cudaStreamDestroy(stream_), cudaSuccess);
    EXPECT_EQ(simt::LiveAllocations(), 0u);
    cudaGetLastError();
  }
  cudaStream_t stream_ = nullptr;
};

TEST_F(RuntimeTest, CopiesKeepToTheirAllocation) {
  void* device = nullptr;
  void* pinned = nullptr;
  char host[64] = "countermark", back[64] = {};
  ASSERT_EQ(cudaMalloc(&device, 64), cudaSuccess);
  ASSERT_EQ(cudaHostAlloc(&pinned, 64, cudaHostAllocDefault), cudaSuccess);
  EXPECT_EQ(cudaMemcpy(device, host, 64, cudaMemcpyHostToDevice), cudaSuccess);
  EXPECT_EQ(cudaMemcpyAsync(pinned, device, 64, cudaMemcpyDeviceToHost, stream_), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_STREQ(static_cast<char*>(pinned), "countermark");
  EXPECT_EQ(cudaMemsetAsync(device, 0, 5, stream_), cudaSuccess);
  EXPECT_EQ(cudaMemcpy(back, device, 64, cudaMemcpyDefault), cudaSuccess);
  EXPECT_EQ(std::memcmp(back, "\0\0\0\0\0ermark", 12), 0);
  EXPECT_EQ(cudaMemcpy(device, host, 65, cudaMemcpyHostToDevice), cudaErrorInvalidValue) << "past the end";
  EXPECT_EQ(cudaMemcpy(host, back, 8, cudaMemcpyDeviceToHost), cudaErrorInvalidValue) << "not the device's";
  EXPECT_EQ(cudaMemset(host, 0, 8), cudaErrorInvalidValue);
  EXPECT_EQ(cudaPeekAtLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);

  cudaPointerAttributes attributes;
  EXPECT_EQ(cudaPointerGetAttributes(&attributes, static_cast<char*>(device) + 63), cudaSuccess);
  EXPECT_EQ(attributes.type, cudaMemoryTypeDevice);
  EXPECT_EQ(cudaPointerGetAttributes(&attributes, pinned), cudaSuccess);
  EXPECT_EQ(attributes.type, cudaMemoryTypeHost);
  EXPECT_EQ(cudaPointerGetAttributes(&attributes, host), cudaSuccess);
  EXPECT_EQ(attributes.type, cudaMemoryTypeUnregistered);

  EXPECT_EQ(cudaFree(static_cast<char*>(device) + 8), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(pinned), cudaErrorInvalidValue) << "it is for cudaFreeHost";
  EXPECT_EQ(cudaFree(device), cudaSuccess);
  EXPECT_EQ(cudaFree(device), cudaErrorInvalidValue) << "freed twice";
  EXPECT_EQ(cudaFree(nullptr), cudaSuccess);
  EXPECT_EQ(cudaFreeHost(pinned), cudaSuccess);
}

TEST_F(RuntimeTest, TheNthCallFails) {
  simt::InjectFailure("cudaMalloc", 2, cudaErrorMemoryAllocation);
  simt::InjectFailure("Launch", 1, cudaErrorLaunchFailure);
  void* memory[3] = {};
  EXPECT_EQ(cudaMalloc(&memory[0], 8), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&memory[1], 8), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMalloc(&memory[2], 8), cudaSuccess);
  std::vector<uint32_t> out(144);
  EXPECT_EQ(probe::Indices(out.data(), stream_), cudaErrorLaunchFailure);
  EXPECT_EQ(probe::Indices(out.data(), stream_), cudaSuccess);
  EXPECT_EQ(simt::LiveAllocations(), 2u);
  EXPECT_EQ(cudaFree(memory[0]), cudaSuccess);
  EXPECT_EQ(cudaFree(memory[2]), cudaSuccess);
}

TEST_F(RuntimeTest, AGraphReplaysWhatWasCaptured) {
  void* device = nullptr;
  ASSERT_EQ(cudaMalloc(&device, 144 * 4), cudaSuccess);
  std::vector<uint32_t> host(144, 7);
  int calls = 0;
  const auto count = [](void* calls_) { ++*static_cast<int*>(calls_); };
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  ASSERT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeGlobal), cudaSuccess);
  cudaStreamCaptureStatus status;
  EXPECT_EQ(cudaStreamIsCapturing(stream_, &status), cudaSuccess);
  EXPECT_EQ(status, cudaStreamCaptureStatusActive);
  EXPECT_EQ(probe::Indices(static_cast<uint32_t*>(device), stream_), cudaSuccess);
  EXPECT_EQ(cudaMemcpyAsync(host.data(), device, 144 * 4, cudaMemcpyDeviceToHost, stream_), cudaSuccess);
  EXPECT_EQ(cudaLaunchHostFunc(stream_, count, &calls), cudaSuccess);
  EXPECT_EQ(host[143], 7u) << "nothing has run yet";
  ASSERT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  for (int replay = 1; replay <= 3; ++replay) {
    std::fill(host.begin(), host.end(), 7);
    EXPECT_EQ(cudaGraphLaunch(executable, stream_), cudaSuccess);
    EXPECT_EQ(host[143], 0x121121u);
    EXPECT_EQ(calls, replay);
  }
  EXPECT_EQ(cudaGraphExecDestroy(executable), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(cudaFree(device), cudaSuccess);
}

TEST_F(RuntimeTest, WhatCannotBeCapturedBreaksTheCapture) {
  void* device = nullptr;
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeGlobal), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&device, 8), cudaErrorStreamCaptureUnsupported);
  EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), cudaErrorStreamCaptureInvalidated);
  ASSERT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeGlobal), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorStreamCaptureUnsupported);
  EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), cudaErrorStreamCaptureInvalidated);
  EXPECT_EQ(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeGlobal), cudaErrorStreamCaptureUnsupported) << "the default stream";
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
}

TEST_F(RuntimeTest, LaunchesAreHeldToTheDevicesLimits) {
  std::vector<uint32_t> values(2048);
  uint64_t sum = 0;
  EXPECT_EQ(probe::BlockSums(values.data(), 1, 0, 32, &sum, stream_), cudaErrorInvalidConfiguration);
  EXPECT_EQ(probe::BlockSums(values.data(), 1, 1, 1056, &sum, stream_), cudaErrorInvalidConfiguration);
  int multiprocessors = 0, shared = 0;
  simt::Configure({.multiprocessors = 9});
  EXPECT_EQ(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, 0), cudaSuccess);
  EXPECT_EQ(multiprocessors, 9);
  EXPECT_EQ(cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0), cudaSuccess);
  EXPECT_EQ(shared, 99 * 1024);
  EXPECT_EQ(cudaSetDevice(1), cudaErrorInvalidDevice);
  EXPECT_STREQ(cudaGetErrorName(cudaErrorInvalidDevice), "cudaErrorInvalidDevice");
}

}  // namespace
}  // namespace countermark
