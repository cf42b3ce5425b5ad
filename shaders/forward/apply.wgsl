// y of every chunk from what `finish` saved: y = activation(gamma * xHat + beta + residual).
// Passes: x read once, y written once (8 bytes an f32). Barriers: none.
fn savedNormal(group: u32) -> Normal {
  let scale = saved[3u * params.allGroups + group] * saved[2u * params.allGroups + group];
  return Normal(spread(saved[group]), spread(saved[params.allGroups + group]), spread(scale),
                spread(saved[4u * params.allGroups + group]));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u,
        @builtin(local_invocation_index) local: u32) {
  let task = taskOf(grid - workgroup - 1u, local);
  mapChunk(task, savedNormal(task.channel), savedNormal(followingOf(task.channel)));
}
