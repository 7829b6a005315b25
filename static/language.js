// Remembers the chosen language in the cookie `lang`, which takes precedence over Accept-Language.
// A frame of the start page is sandboxed and has no cookies: there the links alone choose.
if (origin !== "null") {
  for (const link of document.querySelectorAll("a[hreflang]")) {
    link.addEventListener("click", () => (document.cookie = `lang=${link.hreflang}; path=/; max-age=31536000; samesite=lax`));
  }

  document.querySelector("[data-any-language]").addEventListener("click", () => (document.cookie = "lang=; path=/; max-age=0; samesite=lax"));
}
