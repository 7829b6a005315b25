// A field for the name of a key, or for what names begin with.
import { Field } from "../controls.jsx";

/**
 * The field. `inputRef` is a ref for its control, and other attributes go to that. `onChange` gets
 * what somebody types.
 */
export const KeyNameField = ({ label, help, value, onChange, inputRef, ...rest }) => (
  <Field
    label={label}
    help={help}
    control={(attributes) => (
      <input
        {...attributes}
        {...rest}
        ref={inputRef}
        class="mono"
        spellcheck={false}
        autocomplete="off"
        value={value}
        onInput={(event) => onChange(event.currentTarget.value)}
      />
    )}
  />
);
