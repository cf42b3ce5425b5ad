// y from given mean and variance, in bindings of their own, in one dispatch. Passes: x read once, y written once.
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(local_invocation_index) local: u32) {
  let task = taskOf(workgroup, local);
  let own = normalOf(task.channel, mean[task.channel], Channel(), inverseStd(variance[task.channel]));
  mapChunk(task, own, own);
}
