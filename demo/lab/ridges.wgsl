// Ridges in space: each layer's density as a filled curve with a line along its top.
struct Camera { matrix: mat4x4f }
@group(0) @binding(0) var<uniform> camera: Camera;

struct Corner { @builtin(position) position: vec4f, @location(0) colour: vec4f }

@vertex
fn place(@location(0) position: vec3f, @location(1) colour: vec4f) -> Corner {
  return Corner(camera.matrix * vec4f(position, 1), colour);
}

@fragment
fn paint(corner: Corner) -> @location(0) vec4f {
  return vec4f(corner.colour.rgb * corner.colour.a, corner.colour.a);
}
