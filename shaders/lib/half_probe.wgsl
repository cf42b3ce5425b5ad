// Whether the device's conversions of binary16 are IEEE 754's, as those by integers are: WGSL lets it flush subnormals,
// round either way and leave overflow open. An invocation for each of the 65536 halves tries it, what lies about its
// middle to the next, and one of 65536 numbers that cover the range of f32. Any difference is written to the first word,
// and that all this ran to the second.
fn isNan(half: vec2u) -> vec2<bool> { return (half & vec2u(0x7fffu)) > vec2u(0x7c00u); }

fn narrowsAs(pair: vec2f) -> bool {
  let own = (vec2u(pack2x16float(pair)) >> vec2u(0u, 16u)) & vec2u(0xffffu);
  let expected = (vec2u(narrowBits(pair)) >> vec2u(0u, 16u)) & vec2u(0xffffu);
  return all((own == expected) | (isNan(own) & isNan(expected)));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let half = id.x;
  let own = unpack2x16float(half).x;
  let value = widenBits(half).x;
  // A NaN may change its payload.
  let widens = bitcast<u32>(own) == bitcast<u32>(value) ||
    ((bitcast<u32>(own) & 0x7fffffffu) > 0x7f800000u && isNan(vec2u(half)).x);

  let magnitude = half & 0x7fffu;
  let normalMiddle = bitcast<u32>(value) + 0x1000u;
  let subnormalMiddle = bitcast<u32>(0.5 * (value + widenBits(half + 1u).x));
  let middle = select(normalMiddle, subnormalMiddle, magnitude < 0x0400u);
  let narrows = narrowsAs(vec2f(value, bitcast<f32>(middle))) &&
    narrowsAs(vec2f(bitcast<f32>(middle - 1u), bitcast<f32>(middle + 1u))) &&
    narrowsAs(vec2f(bitcast<f32>(half << 16u), bitcast<f32>((half << 16u) + 0x8001u)));
  if (!widens || !narrows) { partials[0] = 1u; }
  partials[1] = 1u;
}
