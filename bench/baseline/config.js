// The documented example "Build a distributed configuration store": a page that depends on the
// user's record.
export async function config(url, env) {
  const userId = url.searchParams.get("userId");
  if (!userId) {
    return new Response("Please provide a userId query parameter", {
      status: 400,
      headers: { "Content-Type": "text/plain; charset=utf-8" },
    });
  }
  const user = await env.USER_CONFIGURATION.get(userId, { type: "json" });
  const banner = user?.preview_features_enabled
    ? `<div class="preview-banner">
🎉 You have early access to preview features! 🎉
</div>
`
    : "";
  const html = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>My App</title>
<style>
body { font-family: Arial, sans-serif; max-width: 800px; margin: 0 auto; padding: 20px; }
.preview-banner { background-color: #ffeb3b; padding: 10px; text-align: center; margin-bottom: 20px; border-radius: 4px; }
</style>
</head>
<body>
${banner}<h1>Welcome to My App</h1>
<p>This is the regular content everyone sees.</p>
</body>
</html>
`;
  return new Response(html, { headers: { "Content-Type": "text/html; charset=utf-8" } });
}
