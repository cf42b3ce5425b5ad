/** Waits for plans that are made for what they compile, which the device keeps, and frees them. */
export async function compiled(plans: readonly Promise<{ destroy(): void }>[]): Promise<void> {
  const made = await Promise.allSettled(plans);
  for (const each of made) if (each.status === "fulfilled") each.value.destroy();
  const failed = made.find((each) => each.status === "rejected");
  if (failed) throw failed.reason;
}
