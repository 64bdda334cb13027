#pragma once
// DeepSeek-V3's published plan and its parts, for tests.
#include "core/cluster_reader.hpp"
#include "core/model_reader.hpp"
#include "planner/device_model.hpp"
#include "planner/plan_builder.hpp"

namespace orrery {

struct PublishedPlan {
  explicit PublishedPlan(const char* schedule = "dualpipe") {
    request.model = read_model("models/deepseek-v3.toml");
    request.cluster = read_cluster("topologies/h800-2048.toml");
    calibration = read_calibration("calibration/h800.toml");
    request.training.global_batch = 15360;
    request.training.tokens = 14.8e12;
    request.layout.pp = 16;
    request.layout.ep = 64;
    request.layout.dp = 0;
    request.schedule = schedule;
    plan = build_plan(request, costs());
  }
  CalibratedCost costs() const { return {calibration, request.cluster}; }

  DeviceModel device() const { return {calibration, request.cluster}; }

  PlanRequest request;
  Calibration calibration;
  Plan plan;
};

}  // namespace orrery
