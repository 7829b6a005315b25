// The documented example "Get started": write a key, read it back.
export async function getStarted(env) {
  await env.USERS_NOTIFICATION_CONFIG.put("user_2", "disabled");
  const value = await env.USERS_NOTIFICATION_CONFIG.get("user_2");
  if (value === null) {
    return new Response("Value not found", { status: 404 });
  }
  return new Response(value);
}
